// Output, commands and ports of real pods.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { buffer, text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KubeError, KubeUnreachable } from "./errors.ts";
import { exec, forward, logs, type Exec, type ExecOptions, type LogsOptions, type PodLine } from "./streams.ts";
import { collect } from "./testing/server.ts";
import { hasCluster, TestNamespace } from "./testing/cluster.ts";

describe.skipIf(!hasCluster)("streams of a cluster", () => {
  let space: TestNamespace;
  const never = new AbortController().signal;

  beforeAll(async () => {
    space = await TestNamespace.make();
    // Its output, a port that answers, and one that gives back what it gets.
    await space.pod("main", "echo started; echo to-stderr >&2; nc -ll -p 7000 -e cat & exec httpd -f -p 8080 -h /www");
    // A container is ready before its programs listen.
    const listening = (port: number) => `until netstat -ltn | grep -q ':${String(port)} '; do sleep 0.1; done`;
    await outcome(await run(["sh", "-c", `${listening(7000)}; ${listening(8080)}`]));
  });
  afterAll(() => space?.[Symbol.asyncDispose]());

  const lines = (options: Omit<LogsOptions, "namespace">, signal = never): AsyncGenerator<PodLine> =>
    logs(space.api, { namespace: space.name, ...options }, signal);
  const run = (command: readonly string[], more: Partial<ExecOptions> = {}, signal = never): Promise<Exec> =>
    exec(space.api, { namespace: space.name, pod: "main", command, ...more }, signal);
  const outcome = async (session: Exec): Promise<{ out: string; err: string; exitCode: number }> => {
    const [out, err, { exitCode }] = await Promise.all([
      text(session.stdout),
      session.stderr === undefined ? "" : text(session.stderr),
      session.exit,
    ]);
    return { out, err, exitCode };
  };

  describe("logs", () => {
    it("are lines with their time, from both of the container's streams", async () => {
      // What is written is on its way to the kubelet's file for a moment.
      let all: PodLine[] = [];
      while (all.length < 2) all = await collect(lines({ pod: "main" }));
      expect(all.map((line) => line.text).sort()).toEqual(["started", "to-stderr"]);
      for (const { at, cut } of all) {
        expect(Date.now() - Date.parse(at ?? "")).toBeLessThan(600_000);
        expect(cut).toBe(false);
      }
      expect(await collect(lines({ pod: "main", tail: 1, timestamps: false }))).toEqual([{ text: all[1]?.text, cut: false }]);
      expect(await collect(lines({ pod: "main", sinceTime: new Date(Date.now() + 60_000) }))).toEqual([]);
    });

    it("follow a container that is silent, until it is not wanted any more, and until it ends", async () => {
      await space.pod("silent", "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo at last; while [ ! -e /tmp/end ]; do sleep 0.1; done");
      const reason = new Error("not wanted any more");
      const controller = new AbortController();
      const unwanted = collect(lines({ pod: "silent", follow: true }, controller.signal)).catch((error: unknown) => error);
      const following = lines({ pod: "silent", follow: true });
      const first = following.next();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      controller.abort(reason);
      expect(await unwanted).toBe(reason);
      await outcome(await run(["touch", "/tmp/go"], { pod: "silent" }));
      expect(await first).toMatchObject({ value: { text: "at last" } });
      await outcome(await run(["touch", "/tmp/end"], { pod: "silent" }));
      expect(await following.next()).toMatchObject({ done: true });
    });

    it("are bounded in the length of a line, and have those before a restart", async () => {
      // The second run goes on: with its end the first would be cleared away.
      const first = "touch /kept/again; head -c 200000 /dev/zero | tr '\\0' x; echo; echo after; exit 3";
      await space.pod("restarts", `[ -e /kept/again ] && exec sleep 600; ${first}`);
      await space.until("restarts", (pod) => (pod.status.containerStatuses?.[0]?.restartCount ?? 0) > 0);
      const [long, after] = await collect(lines({ pod: "restarts", previous: true }));
      expect([long, after].map((line) => ({ length: line?.text.length ?? 0, cut: line?.cut }))).toMatchObject([
        { cut: true },
        { cut: false },
      ]);
      expect(long?.text.length).toBeGreaterThan(60_000);
      expect(long?.text.length).toBeLessThanOrEqual(65_536);
      expect(after).toMatchObject({ text: "after", cut: false });
    });

    it("of what is not there are a refusal", async () => {
      await expect(lines({ pod: "gone" }).next()).rejects.toMatchObject({ name: "KubeError", status: 404 });
      await expect(lines({ pod: "main", container: "other" }).next()).rejects.toMatchObject({ name: "KubeError", status: 400 });
      await expect(lines({ pod: "main", previous: true }).next()).rejects.toBeInstanceOf(KubeError);
    });
  });

  describe("a command", () => {
    it("has input, output, errors and an exit code", async () => {
      const session = await run(["sh", "-c", "cat; echo oh >&2; exit 3"], { stdin: true });
      session.stdin?.end("hello\n");
      expect(await outcome(session)).toEqual({ out: "hello\n", err: "oh\n", exitCode: 3 });
      expect(await outcome(await run(["echo", "a b", "$HOME"]))).toEqual({ out: "a b $HOME\n", err: "", exitCode: 0 });
    });

    it("gets all of a long input, and its end", async () => {
      const bytes = randomBytes(8 * 1024 * 1024);
      const session = await run(["md5sum"], { stdin: true });
      const [, { out, exitCode }] = await Promise.all([pipeline(Readable.from(chunksOf(bytes)), session.stdin!), outcome(session)]);
      expect([out.slice(0, 32), exitCode]).toEqual([createHash("md5").update(bytes).digest("hex"), 0]);
    });

    it("is held up by a slow reader instead of filling the memory, and loses nothing", async () => {
      const size = 96 * 1024 * 1024;
      // It stays until all has come: of a program that has ended, a runtime lets go of what is still in its pipe.
      const session = await run(["sh", "-c", `head -c ${String(size)} /dev/zero; read -r _; exit 3`], { stdin: true });
      session.stderr?.resume();
      await once(session.stdout, "readable");
      const before = process.memoryUsage().rss;
      let isOver = false;
      void session.exit.then(() => (isOver = true));
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      expect(isOver).toBe(false);
      expect(session.stdout.readableLength).toBeLessThan(4 * 1024 * 1024);
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
      let length = 0;
      for await (const chunk of session.stdout) {
        length += (chunk as Buffer).length;
        if (length === size) session.stdin?.end();
      }
      expect([length, (await session.exit).exitCode]).toEqual([size, 3]);
    });

    it("has a terminal of the wanted size", async () => {
      const session = await run(["sh"], { tty: true, stdin: true });
      expect(session.stderr).toBeUndefined();
      session.resize(101, 37);
      let seen = "";
      session.stdout.setEncoding("utf8").on("data", (chunk: string) => (seen += chunk));
      session.stdin?.write(
        "until [ \"$(stty size)\" = '37 101' ]; do sleep 0.1; done; echo size is $(stty size); tty >/dev/null && echo terminal\n",
      );
      await expect.poll(() => seen, { timeout: 60_000 }).toMatch(/size is 37 101\r\nterminal/);
      session.resize(80, 24);
      session.stdin?.write("until [ \"$(stty size)\" = '24 80' ]; do sleep 0.1; done; exit 7\n");
      expect(await session.exit).toEqual({ exitCode: 7 });
    });

    it("that cannot be started says why", async () => {
      const session = await run(["no-such-program"]);
      session.stdout.resume();
      session.stderr?.resume();
      await expect(session.exit).rejects.toThrow(/no-such-program.*not found/);
      await expect(run(["true"], { pod: "gone" })).rejects.toMatchObject({ name: "KubeError", status: 404 });
      await expect(run(["true"], { container: "other" })).rejects.toBeInstanceOf(KubeError);
    });

    it("ends with who wanted it, and says that the connection broke", async () => {
      const reason = new Error("not wanted any more");
      const controller = new AbortController();
      const session = await run(["sleep", "60"], {}, controller.signal);
      const errors: unknown[] = [];
      session.stdout.on("error", (error) => errors.push(error));
      session.stderr?.on("error", (error) => errors.push(error));
      controller.abort(reason);
      await expect(session.exit).rejects.toBe(reason);
      await expect.poll(() => errors, { timeout: 20_000 }).toEqual([reason, reason]);
      await expect(run(["true"], {}, controller.signal)).rejects.toBe(reason);
      const closed = await run(["sleep", "60"]);
      closed.stdout.on("error", () => undefined);
      closed.stderr?.on("error", () => undefined);
      closed.close();
      await expect(closed.exit).rejects.toBeInstanceOf(KubeUnreachable);
    });

    it("that is killed with its container has an end", async () => {
      await space.pod("doomed", "exec sleep 600");
      const session = await run(["sleep", "600"], { pod: "doomed" });
      const ended = outcome(session).catch((error: unknown) => error);
      await space.api.delete({ kind: "Pod", namespace: space.name, name: "doomed" }, { grace: 0 });
      const end = await ended;
      if (end instanceof Error) expect(end).toMatchObject({ name: expect.stringMatching(/^Kube/) });
      else expect(end).toMatchObject({ exitCode: 137 });
    });
  });

  describe("a port", () => {
    it("answers", async () => {
      const connection = await forward(space.api, { namespace: space.name, pod: "main", port: 8080 }, never);
      connection.write("GET / HTTP/1.0\r\n\r\n");
      expect(await text(connection)).toMatch(/^HTTP\/1\.[01] 200 OK[\s\S]*hello\n$/);
    });

    it("carries much in both directions at once, in order", async () => {
      const bytes = randomBytes(8 * 1024 * 1024);
      const connection = await forward(space.api, { namespace: space.name, pod: "main", port: 7000 }, never);
      const [, got] = await Promise.all([
        pipeline(Readable.from(chunksOf(bytes)), connection, { end: false }),
        (async () => {
          const chunks: Buffer[] = [];
          let length = 0;
          for await (const chunk of connection) {
            chunks.push(chunk as Buffer);
            length += (chunk as Buffer).length;
            if (length >= bytes.length) break;
          }
          return Buffer.concat(chunks);
        })(),
      ]);
      expect(got.equals(bytes)).toBe(true);
      expect(connection.destroyed).toBe(true);
    });

    it("where nothing listens is refused in words", async () => {
      const connection = await forward(space.api, { namespace: space.name, pod: "main", port: 9 }, never);
      await expect(buffer(connection)).rejects.toMatchObject({
        name: "KubeError",
        reason: "PortForward",
        message: expect.stringMatching(/refused/),
      });
      await expect(forward(space.api, { namespace: space.name, pod: "gone", port: 8080 }, never)).rejects.toMatchObject({ status: 404 });
    });

    it("is let go of by who wanted it", async () => {
      const reason = new Error("not wanted any more");
      const controller = new AbortController();
      const connection = await forward(space.api, { namespace: space.name, pod: "main", port: 7000 }, controller.signal);
      connection.write("x");
      await once(connection, "readable");
      controller.abort(reason);
      await expect(buffer(connection)).rejects.toBe(reason);
    });
  });
});

function* chunksOf(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length; from += 100_000) yield bytes.subarray(from, from + 100_000);
}
