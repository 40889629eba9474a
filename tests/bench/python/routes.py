"""The routes of the Python framework's side: one pattern, three middleware, a handler that reads the JSON and counts.

One pattern is its best case: it searches its routes one after the other.
"""

import os
import struct
import threading
import time

from routemq.middleware import Middleware
from routemq.router import Router

handled = 0


def show():
    with open(os.environ['BENCH_PROGRESS'], 'r+b', buffering=0) as file:
        while True:
            file.seek(0)
            file.write(struct.pack('<QQ', handled, 0))
            time.sleep(0.001)


class Pass(Middleware):
    async def handle(self, context, next_handler):
        return await next_handler(context)


async def take(route, device, payload, client):
    global handled
    if payload['status'] == 'ok' and payload['battery'] <= 100:
        handled += 1


router = Router()
router.on(
    'site/{route}/{device}',
    take,
    qos=int(os.environ['BENCH_QOS']),
    middleware=[Pass(), Pass(), Pass()],
)
threading.Thread(target=show, daemon=True).start()
