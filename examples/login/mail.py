"""Sends mails by SMTP."""

import logging
import smtplib
import ssl
from email.message import EmailMessage

import settings

_log = logging.getLogger("mail")


def send(to: str, subject: str, text: str) -> None:
    """Send a mail; call it in a thread, since it waits for the server."""
    if not settings.SMTP_HOST:
        _log.warning(
            "SMTP_HOST is not set. This mail to %s is only here:\n%s", to, text
        )
        return
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.MAIL_FROM, to, subject
    mail.set_content(text)
    with smtplib.SMTP(settings.SMTP_HOST, settings.SMTP_PORT, timeout=10) as server:
        if settings.SMTP_USER:
            server.starttls(context=ssl.create_default_context())
            server.login(settings.SMTP_USER, settings.SMTP_PASSWORD)
        server.send_message(mail)
