"""The checks of the Python client of the TCP bridge: python3 client.py PORT."""
import os
import sys
import threading

from vertx import EventBus

threading.Timer(20, lambda: (print("FAILED not done within 20 s", flush=True), os._exit(1))).start()
errors = []
eb = EventBus(port=int(sys.argv[1]), err_handler=errors.append, options={"reply_timeout": 5})
eb.connect()


def check(name, ok, got=None):
    print("ok" if ok else "FAILED", name, "" if ok else got, flush=True)
    if not ok:
        os._exit(1)


def ask(address, body, headers=None):
    got = []
    eb.send(address, headers=headers, body=body, reply_handler=got.append)
    return got[0] if got else None


m = ask("echo", {"text": "\U0001d11e"}, {"a": "b"})
check("echo", m and m["body"] == {"text": "\U0001d11e"} and m["headers"] == {"a": "b"}, m)
heard = threading.Event()
got = []
eb.register_handler("x", lambda m: (got.append(m), heard.set()))
ask("echo", 1)
eb.publish("x", body={"n": 1})
check("publish", heard.wait(10) and got[0]["body"] == {"n": 1}, got)
eb.send("forbidden", body=1)
while not errors:
    heard.wait(0.01)
check("denied", errors[0]["message"] == "access_denied", errors)
check("alive", ask("echo", "alive")["body"] == "alive")
print("done", flush=True)
os._exit(0)
