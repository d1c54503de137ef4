"""Sends one mail with Python's own smtplib and email packages, and says what the server answered.

Reads a JSON object from standard input:
  port, from, to (list), and either `data` (the mail, base64) or `message` (headers, text, attachments to compose).
Writes a JSON object: `replies` (each [command, code, text]) and `data` (the mail as composed, base64).
"""
import base64
import json
import smtplib
import sys
from email import policy
from email.message import EmailMessage


def compose(wanted):
    message = EmailMessage(policy=policy.SMTP)
    for name, value in wanted["headers"]:
        message[name] = value
    message.set_content(wanted.get("text", ""))
    for one in wanted.get("attachments", []):
        main, sub = one["type"].split("/")
        with open(one["path"], "rb") as file:
            message.add_attachment(file.read(), maintype=main, subtype=sub, filename=one["name"])
    return message.as_bytes()


def send(request, data):
    replies = []

    def note(command, answer):
        replies.append([command, answer[0], answer[1].decode("latin-1")])
        return answer[0] < 400

    with smtplib.SMTP("127.0.0.1", request["port"], timeout=60) as client:
        note("EHLO", client.ehlo())
        if not note("MAIL", client.mail(request["from"])):
            return replies
        taken = [note("RCPT", client.rcpt(address)) for address in request["to"]]
        if any(taken):
            note("DATA", client.data(data))
    return replies


request = json.load(sys.stdin)
data = base64.b64decode(request["data"]) if "data" in request else compose(request["message"])
print(json.dumps({"replies": send(request, data), "data": base64.b64encode(data).decode()}))
