"""aiosmtpd with the same rules as the other peers: no@... is unknown, mails are printed as JSON lines."""
import base64, json, sys
from aiosmtpd.controller import Controller


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("no@"):
            return "550 5.1.1 Unknown recipient"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        content = base64.b64encode(envelope.content).decode()
        print(json.dumps({"from": envelope.mail_from, "content": content}), flush=True)
        return "250 2.0.0 OK"


controller = Controller(Handler(), hostname="127.0.0.1", port=int(sys.argv[1]), data_size_limit=1000,
                        enable_SMTPUTF8=True, decode_data=False)
controller.start()
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    # Asked for after a reply: whatever was accepted before has been printed.
    print(json.dumps({"mark": True}), flush=True)
controller.stop()
