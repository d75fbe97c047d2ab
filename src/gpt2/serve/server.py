"""How does the server run? Until it is told to end: by uvicorn."""

from collections.abc import Mapping

import uvicorn

from gpt2.config import ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.serve.app import make_app
from gpt2.serve.models import ServedModels, serve_model


async def serve(paths: Mapping[str, str], config: ServeConfig) -> None:
    """Serve models until SIGTERM or Ctrl-C.

    Args:
        paths: Of each model, by the name that requests ask for.
        config: How.
    """
    served = []
    for name, path in paths.items():
        model = GPT2.from_pretrained(path)
        engine = Engine(model, most_texts=config.batch, take=True)
        served.append(serve_model(name, path, engine, model, config))
    app = make_app(ServedModels(served))
    settings = uvicorn.Config(app, host=config.host, port=config.port, access_log=False)
    await uvicorn.Server(settings).serve()
