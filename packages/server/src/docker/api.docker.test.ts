// The client against a real dockerd and a real podman: one suite, both daemons.
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, type Duplex } from "node:stream";
import { json } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { importImage } from "../builders/bases/import.ts";
import { debianMissing, debianTar } from "../builders/testing/debian.ts";
import { DockerApi } from "./api.ts";
import { parseEndpoint } from "./endpoint.ts";
import { DockerError, DockerUnreachable, isNameTaken } from "./errors.ts";
import { readFrames } from "./frames.ts";
import { readNdjson } from "./ndjson.ts";
import { dockerdMissing, podmanMissing, startDockerd, startPodman, type TestDaemon } from "./testing/daemon.ts";

interface Created {
  readonly Id: string;
}

const reference = "berth-test/debian:12";
const value = "one  two, it's = #4 {x}";

describe.each([
  { name: "dockerd", missing: dockerdMissing() ?? debianMissing(), start: () => startDockerd({ tls: true }) },
  { name: "podman", missing: podmanMissing() ?? debianMissing(), start: () => startPodman() },
])("with $name", ({ name, missing, start }) => {
  describe.skipIf(missing !== undefined)(
    missing === undefined ? "the client, as root" : `the client, as root (skipped: ${missing})`,
    () => {
      let daemon: TestDaemon;
      let api: DockerApi;
      const { signal } = new AbortController();

      beforeAll(async () => {
        const tar = await debianTar();
        daemon = await start();
        api = new DockerApi(daemon.endpoint);
        await importImage(api, createReadStream(tar), {
          reference,
          labels: { "berth.test/kind": value, plain: "yes" },
          env: { WORDS: value, LANG: "C.UTF-8" },
          cmd: ["/bin/sh", "-c", "cat /etc/os-release"],
        });
      });
      afterAll(async () => {
        api?.close();
        await daemon?.[Symbol.asyncDispose]();
      });

      const create = async (container: string, more: object = {}): Promise<string> =>
        (await api.json<Created>("POST", "/containers/create", { query: { name: container }, body: { Image: reference, ...more } })).Id;
      const remove = (id: string): Promise<void> => api.json("DELETE", `/containers/${id}`, { query: { force: true, v: true } });
      const logs = async (id: string): Promise<{ stdout: string; stderr: string }> => {
        const texts = { stdin: "", stdout: "", stderr: "" };
        const stream = await api.stream("GET", `/containers/${id}/logs`, { query: { stdout: true, stderr: true } });
        for await (const frame of readFrames(stream)) texts[frame.stream] += frame.data.toString();
        return texts;
      };
      const begin = async (id: string, exec: object): Promise<{ exec: string; connection: Duplex }> => {
        const body = { AttachStdin: true, AttachStdout: true, AttachStderr: true, ...exec };
        const { Id } = await api.json<Created>("POST", `/containers/${id}/exec`, { body });
        const tty = "Tty" in exec;
        return { exec: Id, connection: await api.hijack(`/exec/${Id}/start`, { Detach: false, Tty: tty }, signal) };
      };

      it("speaks the daemon's version", async () => {
        expect(await api.version()).toBe("1.41");
        expect(await api.json<object>("GET", "/info")).toMatchObject({ Driver: expect.stringMatching(/^(overlay2?|vfs)$/) as string });
      });

      it("imports an image with its labels, variables and command, to the letter", async () => {
        const image = await api.json<{ Config: { Labels: object; Env: string[]; Cmd: string[] } }>("GET", `/images/${reference}/json`);
        expect(image.Config.Labels).toEqual({ "berth.test/kind": value, plain: "yes" });
        expect(image.Config.Env.filter((entry) => !entry.startsWith("PATH=")).sort()).toEqual([`LANG=C.UTF-8`, `WORDS=${value}`]);
        expect(image.Config.Cmd).toEqual(["/bin/sh", "-c", "cat /etc/os-release"]);
      });

      it("runs a command to its end and reads what it wrote, each stream by itself", async () => {
        const id = await create("run", { Cmd: ["/bin/sh", "-c", "cat /etc/os-release; echo oops >&2; exit 7"] });
        // The answer begins once its end is waited for.
        const waiting = await api.stream("POST", `/containers/${id}/wait`, { query: { condition: "next-exit" }, timeout: Infinity });
        await api.json("POST", `/containers/${id}/start`);
        expect(await json(waiting)).toMatchObject({ StatusCode: 7 });
        const { stdout, stderr } = await logs(id);
        expect(stdout).toMatch(/^VERSION_ID="12"$/m);
        expect(stderr).toBe("oops\n");
        await remove(id);
      });

      it("takes over a terminal: input, output, another size, the exit code", async () => {
        const id = await create("terminal", { Cmd: ["sleep", "600"] });
        await api.json("POST", `/containers/${id}/start`);
        const { exec, connection } = await begin(id, { Cmd: ["/bin/sh"], Tty: true });
        const said = collect(connection);
        connection.write("echo $((40+2))\n");
        await said.until("42");
        await api.json("POST", `/exec/${exec}/resize`, { query: { h: 41, w: 123 } });
        // podman leaves that to another program, and does not wait for it.
        await said.until("41 123", () => connection.write("stty size\n"));
        connection.write("exit 3\n");
        await said.ended;
        await expect
          .poll(async () => api.json<object>("GET", `/exec/${exec}/json`), { timeout: 60_000 })
          .toMatchObject({ ExitCode: 3, Running: false });
        connection.destroy();
        await remove(id);
      });

      it("takes over a command without a terminal: closes its input, and gets every byte back", async () => {
        const id = await create("pipe", { Cmd: ["sleep", "600"] });
        await api.json("POST", `/containers/${id}/start`);
        const { connection } = await begin(id, { Cmd: ["/bin/sh", "-c", "cat; echo done >&2"] });
        const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 7919) % 256));
        connection.end(sent);
        const got = { stdin: [] as Buffer[], stdout: [] as Buffer[], stderr: [] as Buffer[] };
        for await (const frame of readFrames(connection)) got[frame.stream].push(frame.data);
        expect(Buffer.concat(got.stdout).equals(sent)).toBe(true);
        expect(Buffer.concat(got.stderr).toString()).toBe("done\n");
        await remove(id);
      });

      it("passes on the daemon's refusals with their status", async () => {
        const id = await create("taken");
        const taken = await create("taken").catch((error: unknown) => error);
        expect(taken).toMatchObject({
          name: "DockerError",
          status: name === "podman" ? 500 : 409,
          message: expect.stringContaining("taken") as string,
        });
        expect(isNameTaken(taken)).toBe(true);
        await remove(id);
        const refused = (call: Promise<unknown>): Promise<unknown> =>
          call.then(
            () => "no error",
            (error: unknown) => (error instanceof DockerError ? error.status : error),
          );
        expect(await refused(api.json("GET", "/containers/nobody/json"))).toBe(404);
        expect(await refused(api.json("DELETE", `/containers/${id}`))).toBe(404);
        expect(await refused(api.json("GET", "/images/nothing:1/json"))).toBe(404);
        expect(await refused(create("imageless", { Image: "nothing:1" }))).toBe(404);
        expect(await refused(api.stream("GET", "/containers/nobody/logs", { query: { stdout: true } }))).toBe(404);
        expect(await refused(api.hijack("/exec/nobody/start", {}, signal))).toBe(404);
        await expect(api.json("GET", "/containers/nobody/json")).rejects.toThrow(/no such container|no container with name/i);
      });

      it("ends every kind of call with the signal's reason", async () => {
        const id = await create("endless", { Cmd: ["/bin/sh", "-c", "echo begun; exec sleep 600"] });
        await api.json("POST", `/containers/${id}/start`);
        const reason = new Error("enough");
        const aborted = async (call: (signal: AbortSignal) => Promise<unknown>, ms = 200): Promise<unknown> => {
          const controller = new AbortController();
          setTimeout(() => controller.abort(reason), ms);
          return call(controller.signal).then(
            () => "no error",
            (error: unknown) => error,
          );
        };
        expect(await aborted((each) => api.json("POST", `/containers/${id}/wait`, { signal: each, timeout: Infinity }))).toBe(reason);
        expect(
          await aborted(async (each) => {
            const stream = await api.stream("GET", `/containers/${id}/logs`, { query: { stdout: true, follow: true }, signal: each });
            for await (const frame of readFrames(stream)) expect(frame.data.toString()).toBe("begun\n");
          }, 2_000),
        ).toBe(reason);
        expect(
          await aborted(async (each) => {
            const connection = await api.hijack(`/containers/${id}/attach`, undefined, each, { stream: true, stdout: true });
            for await (const frame of readFrames(connection)) expect(frame.data.toString()).toBe("begun\n");
          }, 2_000),
        ).toBe(reason);
        const body = new PassThrough();
        body.write(Buffer.alloc(1024));
        expect(await aborted((each) => api.json("POST", "/images/create", { query: { fromSrc: "-" }, body, signal: each }))).toBe(reason);
        expect(body.destroyed).toBe(true);
        expect(await api.json("GET", "/containers/json", { signal: AbortSignal.abort(reason) }).catch((error: unknown) => error)).toBe(
          reason,
        );
        await remove(id);
      });

      it("gives up after its limit in time, and says so", async () => {
        const id = await create("slow", { Cmd: ["sleep", "600"] });
        await api.json("POST", `/containers/${id}/start`);
        await expect(api.json("POST", `/containers/${id}/wait`, { timeout: 300 })).rejects.toMatchObject({
          name: "DockerUnreachable",
          code: "TIMEOUT",
        });
        await remove(id);
      });

      it("fails with what the body failed of", async () => {
        const body = Readable.from(
          (async function* () {
            yield await Promise.resolve(Buffer.alloc(1024));
            throw new Error("the disk is gone");
          })(),
        );
        await expect(api.json("POST", "/images/create", { query: { fromSrc: "-" }, body })).rejects.toThrow("the disk is gone");
      });

      it("reads events as they happen", async () => {
        const filters = JSON.stringify({ type: ["container"], event: ["create"] });
        // The answer begins a moment before anything is listened to.
        const since = Math.floor(Date.now() / 1_000);
        const events = await api.stream("GET", "/events", { query: { filters, since }, signal });
        const id = await create("evented");
        for await (const event of readNdjson<{ Action: string; Actor: { ID: string } }>(events)) {
          expect(event).toMatchObject({ Action: "create" });
          if (event.Actor.ID === id) break;
        }
        await remove(id);
      });

      it("many calls at once share connections and all come back", async () => {
        const answers = await Promise.all(Array.from({ length: 60 }, () => api.json<object[]>("GET", "/images/json")));
        expect(answers.every((images) => images.length >= 1)).toBe(true);
      });

      it("a reboot ends streams with an error, and the next call gets through", async () => {
        const id = await create("rebooted", { Cmd: ["/bin/sh", "-c", "echo begun; exec sleep 600"] });
        await api.json("POST", `/containers/${id}/start`);
        const stream = await api.stream("GET", `/containers/${id}/logs`, { query: { stdout: true, follow: true } });
        const broken = expect(collect(stream).ended).rejects.toThrow(DockerUnreachable);
        await daemon.reboot();
        await broken;
        expect(await api.json<object>("GET", `/containers/${id}/json`)).toMatchObject({ State: { Running: false } });
        await remove(id);
      });

      it("over TLS, answers a client that it knows and nobody else", async () => {
        const endpoint = daemon.tlsEndpoint;
        // podman has none.
        expect(endpoint === undefined).toBe(name === "podman");
        if (endpoint === undefined) return;
        if (endpoint.type !== "tcp" || endpoint.tls === undefined) throw new Error("no TLS");
        const known = new DockerApi(endpoint);
        expect(await known.json<object[]>("GET", "/images/json")).not.toEqual([]);
        const id = await create("far", { Cmd: ["sleep", "600"] });
        await known.json("POST", `/containers/${id}/start`);
        const { Id } = await known.json<Created>("POST", `/containers/${id}/exec`, { body: { AttachStdout: true, Cmd: ["echo", "far"] } });
        const connection = await known.hijack(`/exec/${Id}/start`, { Detach: false, Tty: false }, signal);
        for await (const frame of readFrames(connection)) expect(frame.data.toString()).toBe("far\n");
        known.close();
        const stranger = new DockerApi({ ...endpoint, tls: { ca: endpoint.tls.ca } });
        await expect(stranger.version()).rejects.toThrow(DockerUnreachable);
        const distrustful = new DockerApi({ ...endpoint, tls: { ...endpoint.tls, ca: undefined } });
        await expect(distrustful.version()).rejects.toThrow(/certificate/);
        await remove(id);
      });
    },
  );
});

describe("where no daemon answers", () => {
  it("says what is wrong, with the address", async () => {
    const folder = await mkdtemp(join(tmpdir(), "berth-no-docker-"));
    const server = createServer((socket) => socket.destroy());
    try {
      const failing = (text: string): Promise<unknown> =>
        new DockerApi(parseEndpoint(text)).json("GET", "/info").catch((error: unknown) => error);
      const url = `unix://${join(folder, "s")}`;
      expect(await failing(url)).toMatchObject({ name: "DockerUnreachable", code: "ENOENT", endpoint: url });
      await new Promise<void>((resolve) => {
        server.listen(join(folder, "s"), resolve);
      });
      expect(await failing(url)).toMatchObject({
        name: "DockerUnreachable",
        code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) as string,
      });
      expect(await failing("tcp://127.0.0.1:1")).toMatchObject({ name: "DockerUnreachable", code: "ECONNREFUSED" });
      expect(String(await failing("tcp://127.0.0.1:1"))).toContain("tcp://127.0.0.1:1 refuses connections");
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
});

/** What a stream says, as text. */
function collect(stream: Readable): { readonly ended: Promise<void>; until(text: string, ask?: () => unknown): Promise<void> } {
  let all = "";
  const ended = (async (): Promise<void> => {
    for await (const chunk of stream as AsyncIterable<Buffer>) all += chunk.toString();
  })();
  ended.catch(() => undefined);
  return {
    ended,
    until: async (text, ask) => {
      const limit = performance.now() + 60_000;
      while (!all.includes(text)) {
        if (performance.now() > limit) throw new Error(`no ${text} in ${JSON.stringify(all)}`);
        ask?.();
        await Promise.race([pause(ask === undefined ? 20 : 200), ended]);
      }
    },
  };
}
