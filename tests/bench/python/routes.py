"""The routes of the Python framework's side: one pattern, three middleware, a handler that reads the JSON and counts, or writes a row before.

One pattern is its best case: it searches its routes one after the other.
"""

import os
import struct
import threading
import time

from routemq.middleware import Middleware
from routemq.model import Model
from routemq.router import Router
from sqlalchemy import BigInteger, Column, Float, String

handled = 0


class Reading(Model):
    __tablename__ = 'readings'

    id = Column(BigInteger, primary_key=True)
    device = Column(String(64), nullable=False)
    sequence = Column(BigInteger, nullable=False)
    temperature = Column(Float, nullable=False)
    status = Column(String(16), nullable=False)


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


async def store(route, device, payload, client):
    await Model.create(
        Reading,
        device=device,
        sequence=payload['sequence'],
        temperature=payload['temperature'],
        status=payload['status'],
    )
    await take(route, device, payload, client)


router = Router()
router.on(
    'site/{route}/{device}',
    store if os.environ['ENABLE_MYSQL'] == 'true' else take,
    qos=int(os.environ['BENCH_QOS']),
    middleware=[Pass(), Pass(), Pass()],
)
threading.Thread(target=show, daemon=True).start()
