"""A client's socket, read and written as the loop says; a transport of asyncio's would cost a client as much again."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol


class Listener(Protocol):
    """What becomes of a socket's doings."""

    def received(self, count: int) -> None:
        """So many bytes are in the buffer."""

    def ended(self) -> None:
        """The client sends no more."""

    def stuck(self, stuck: bool) -> None:
        """The client takes no more, or does again."""

    def lost(self) -> None:
        """The socket is closed, by whom ever; called once."""


class Wire:
    """One socket; `buffer` is shared by all, for what is in it is looked at before anything else is read."""

    __slots__ = ("_buffer", "_closing", "_file", "_loop", "_paused", "_reading", "_socket", "_unsent", "listener")

    def __init__(self, accepted: socket.socket, buffer: memoryview, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._buffer, self._loop = accepted, buffer, loop
        self._file = accepted.fileno()  # by their numbers the loop finds sockets twice as fast
        self.listener: Listener
        self._unsent = b""
        self._reading = self._paused = self._closing = False

    def begin(self) -> None:
        """Read what is there already: then most clients that ask once need no place in the loop."""
        if not self._closing:
            self._read()
            self._watch()

    def write(self, data: bytes) -> None:
        """Send, now or as soon as the client takes it."""
        if self._unsent:
            self._unsent += data
        elif (left := self._sent(data)) and self._file >= 0:
            self._unsent = left
            self._loop.add_writer(self._file, self._flush)
            self.listener.stuck(True)

    def pause(self, paused: bool) -> None:
        """Do not read for the time being, or do again."""
        self._paused = paused
        self._watch()

    def close(self) -> None:
        """End it when all is sent."""
        self._closing = True
        if self._unsent:
            self._watch()
        else:
            self.abort()

    def linger(self) -> None:
        """Send no more, and pass over what the client still sends: closed, it might miss the end of the answer."""
        if self._unsent:
            self.close()
        else:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.abort()

    def abort(self) -> None:
        """End it at once."""
        if self._file < 0:
            return
        self._closing = True
        self._watch()
        if self._unsent:
            self._loop.remove_writer(self._file)
            self._unsent = b""
        self._socket.close()
        self._file = -1
        self.listener.lost()

    def _watch(self) -> None:
        """Be told by the loop of what comes, if we want to know."""
        wanted = not (self._paused or self._closing)
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._file, self._read)
            else:
                self._loop.remove_reader(self._file)

    def _read(self) -> None:
        try:
            count = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if count:
            self.listener.received(count)
        else:
            self._paused = True  # there is nothing more to come, which the loop would tell again and again
            self._watch()
            self.listener.ended()

    def _sent(self, data: bytes) -> bytes:
        """What is left of it."""
        try:
            return data[self._socket.send(data) :]
        except (BlockingIOError, InterruptedError):
            return data
        except OSError:
            self.abort()
            return b""

    def _flush(self) -> None:
        self._unsent = self._sent(self._unsent)
        if not self._unsent and self._file >= 0:
            self._loop.remove_writer(self._file)
            if self._closing:
                self.abort()
            else:
                self.listener.stuck(False)
