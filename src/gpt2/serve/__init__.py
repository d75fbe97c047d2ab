"""The HTTP server of `gpt2 serve` and `gpt2 watch`. A request passes it from top to bottom:

server.py      listens, has the models opened (loading.py), and stops gracefully
middleware/    request_log, access, gate and bodies, in this order: who may ask, when, and how much
app.py         leads to the routes: completions/, listing, tokenization, explore, pages, watch/
models.py      the models by name
worker.py      the thread of a model, which computes the steps of its engine

The routes share fields.py (the fields of requests), errors.py (answers to requests that failed),
wire_format.py and long_work.py. `watch/` is also served without models, and then without torch.
"""
