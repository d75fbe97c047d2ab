"""Which paths of the server are named in several modules?"""

HEALTH = "/health"
METRICS = "/metrics"
RUN = "/run"  # the page of runs; what it asks for is below it
WEB = "/web"  # the files of web/ are below it
