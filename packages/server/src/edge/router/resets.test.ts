// What a client may send and then break off, at whatever moment: it costs its own connection, never the router.
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { endpoint, fence, fetchRaw, host, never, TestEdge, webEntry } from "../testing/harness.ts";

const noHost = "GET / HTTP/1.1\r\n\r\n";
const upgrade = `GET /x HTTP/1.1\r\nhost: ${host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`;
const hostile: Readonly<Record<string, string>> = {
  "an upgrade behind what makes a connection unreadable": `${noHost}${upgrade}`,
  "an upgrade behind a request": `GET /x HTTP/1.1\r\nhost: ${host}\r\n\r\n${upgrade}`,
  "an upgrade that nobody takes": "GET / HTTP/1.1\r\nhost: nobody.localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  "a CONNECT behind what makes a connection unreadable": `${noHost}CONNECT ${host}:80 HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
  "an expectation behind what makes a connection unreadable": `${noHost}POST /x HTTP/1.1\r\nhost: ${host}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n`,
  "no request at all": `${noHost}no request at all\r\n\r\n`,
};

/** `restFrom` 1: all connections but the first are ones that may rest. */
it.each([1_000_000, 1])(
  "a router outlives clients that break off whatever they sent (connections rest from %i on)",
  async (restFrom) => {
    await using edge = await TestEdge.start({ limits: { restFrom } });
    await using behind = await endpoint("i1", (_req, res) => res.end("here"));
    await edge.traffic.apply(await webEntry([behind.endpoint]), fence(1), never);
    await edge.ready({ i1: true });
    const before = [...(await edge.workers())].sort();
    for (const text of Object.values(hostile))
      for (let round = 0; round < 2; round += 1)
        await Promise.all(
          Array.from({ length: 24 }, async (_, index) => {
            const socket = connect({ host: "127.0.0.1", port: edge.port, noDelay: true });
            socket.on("error", () => undefined);
            await once(socket, "connect");
            socket.write(text);
            // From before the router reads it until after it answered.
            if (index % 4 === 0) await new Promise((resolve) => setImmediate(resolve));
            if (index % 4 > 1) await sleep(index / 6);
            socket.resetAndDestroy();
          }),
        );
    expect((await fetchRaw(edge.port, { path: "/x", headers: { host } })).body.toString()).toBe("here");
    expect(edge.stderr).not.toContain("unexpected error");
    expect([...(await edge.workers())].sort()).toEqual(before);
  },
  240_000,
);
