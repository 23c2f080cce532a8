import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { readPortControl } from "@berth/contract/port.ts";
import { terminalFrame, readTerminalControl, readTerminalFrame } from "@berth/contract/terminal.ts";
import { describe, expect, it } from "vitest";
import type { WebSocket } from "ws";
import { Refusal } from "../testing/api.ts";
import { api, cli, serve } from "../testing/served.ts";
import { aBuild, aComponent, aRollout, aStack, aTask, anEvent, ended, now } from "../testing/objects.ts";

const logLine = (text: string, over: object = {}) => ({
  at: now.toISOString(),
  instance: "web-1",
  stream: "stdout" as const,
  text,
  cursor: text,
  ...over,
});

describe("lists", () => {
  it("are tables for people and the API's page with --json; --all reads every page", async () => {
    const asked: (string | undefined)[] = [];
    await serve({
      listStacks: ({ query }) => {
        asked.push(query.cursor);
        return query.cursor === undefined
          ? { items: [aStack()], cursor: "next" }
          : { items: [aStack({ name: "blog", state: "degraded" })] };
      },
    });
    const table = await cli.run("stacks list");
    expect(table.out).toMatch(/^STACK +STATE.*\nshop +healthy/);
    expect(table.err).toContain("--cursor next");
    expect(JSON.parse((await cli.run("stacks list --json")).out)).toEqual({ items: [aStack()], cursor: "next" });
    expect(JSON.parse((await cli.run("stacks list --json --all")).out)).toEqual({
      items: [aStack(), aStack({ name: "blog", state: "degraded" })],
    });
    expect(asked).toEqual([undefined, undefined, undefined, "next"]);
  });

  it("say so when there is nothing, on stderr", async () => {
    await serve({ listSecrets: () => ({ items: [] }) });
    expect(await cli.run("secrets list")).toEqual({ code: 0, out: "", err: "There are no secrets.\n" });
    expect((await cli.run("secrets list -q")).err).toBe("");
  });
});

describe("which stack and component are meant", () => {
  it("is asked for with the list of what there is", async () => {
    await serve({
      listStacks: () => ({ items: [aStack(), aStack({ name: "blog" })] }),
      listComponents: () => ({ items: [aComponent(), aComponent({ name: "api" })] }),
    });
    const stack = await cli.run("status", { env: { BERTH_STACK: "" } });
    expect(stack).toMatchObject({ code: 2, err: expect.stringContaining("Stacks: shop, blog") as string });
    const component = await cli.run("components show");
    expect(component).toMatchObject({ code: 2, err: expect.stringContaining("Components: web, api") as string });
  });

  it("is the only one there is, with a note", async () => {
    await serve({ listStacks: () => ({ items: [aStack()] }), listComponents: () => ({ items: [aComponent()] }) });
    const ran = await cli.run("status", { env: { BERTH_STACK: "" } });
    expect(ran).toMatchObject({ code: 0, err: "Using stack shop, the only one.\n" });
    expect(ran.out).toContain("web");
  });

  it("that was taken from a Compose file is told apart from one that was named", async () => {
    await serve({
      listComponents: () => {
        throw new Refusal("not_found", { kind: "stack", name: "my-shop", hint: "Did you mean `shop`?" });
      },
    });
    writeFileSync(join(cli.home, "compose.yaml"), "name: my-shop\n");
    const guessed = await cli.run("status", { env: { BERTH_STACK: "" } });
    expect(guessed).toMatchObject({
      code: 3,
      err: expect.stringMatching(/There is no stack `my-shop`[^]*taken from `name:` in compose.yaml[^]*Did you mean `shop`/) as string,
    });
    expect((await cli.run("status -s my-shop")).err).not.toContain("taken from");
  });
});

describe("errors", () => {
  it("have a code for scripts and a next step for people", async () => {
    await serve({
      showMe: () => {
        throw new Refusal("forbidden", { action: "look", permission: "x" });
      },
    });
    expect(await cli.run("whoami")).toEqual({ code: 3, out: "", err: "Error: You may not look here.\nNext: Ask for the permission x.\n" });
    const stranger = await cli.run("whoami", { env: { BERTH_TOKEN: "" } });
    expect(stranger).toMatchObject({ code: 3, err: expect.stringMatching(/not signed in[^]*berth login/) as string });
    expect(await cli.run("whoami --server http://127.0.0.1:1")).toMatchObject({
      code: 1,
      err: expect.stringContaining("berth server start") as string,
    });
    expect(await cli.run("whoami --bogus")).toMatchObject({ code: 2, err: expect.stringContaining("--bogus") as string });
    expect(await cli.run("scale many -c web")).toMatchObject({ code: 2 });
    expect(await cli.run("status --timeout soon")).toMatchObject({ code: 2, err: expect.stringContaining("30s") as string });
    expect(await cli.run("whoami --lang tlh")).toMatchObject({ code: 2, err: expect.stringContaining("It speaks: en.") as string });
  });
});

describe("what changes things", () => {
  it("sends If-Match with what it read, and says what happened", async () => {
    const bodies: unknown[] = [];
    await serve({
      showConfig: () => ({ version: 1, values: { A: "1" }, allowed: {} }),
      updateConfig: ({ body, headers }) => {
        bodies.push([body, headers["if-match"]]);
        return { version: 2, values: { A: "1", B: "two words" }, allowed: {} };
      },
    });
    const ran = await cli.run(["config", "set", "B=two words", "C='q'", "-c", "web"]);
    expect(bodies).toEqual([[{ values: { B: "two words", C: "q" }, deploy: false }, '"1"']]);
    expect(ran).toMatchObject({ code: 0, out: "Config of web is at version 2; `berth deploy` puts it live.\n" });
    expect(await cli.run("config set nonsense")).toMatchObject({ code: 2 });
  });

  it("takes a secret from stdin, never from the command line", async () => {
    const values: string[] = [];
    await serve({
      setSecret: ({ body }) => {
        values.push(body.value);
        return {
          name: "key",
          version: 1,
          usedBy: ["web"],
          pendingIn: ["web"],
          updatedAt: now.toISOString(),
          updatedBy: "admin",
          allowed: {},
        };
      },
    });
    expect((await cli.run("secrets set key", { stdin: "s3cret\n" })).out).not.toContain("s3cret");
    expect(values).toEqual(["s3cret"]);
    expect(await cli.run("secrets set key s3cret")).toMatchObject({ code: 2 });
    expect(await cli.run("secrets set key", { stdin: "" })).toMatchObject({ code: 2 });
  });

  it("asks for --yes before it deletes where nobody can be asked, then waits until it is gone", async () => {
    let looks = 0;
    let deleted = false;
    await serve({
      showStack: () => {
        looks += 1;
        if (deleted && looks > 3) throw new Refusal("not_found", { kind: "stack", name: "shop", hint: "" });
        return aStack();
      },
      deleteStack: () => {
        deleted = true;
        return {};
      },
      async *watch() {
        yield anEvent({ code: "stack_deleting" });
      },
    });
    expect((await cli.run("stacks delete shop")).code).toBe(2);
    expect(deleted).toBe(false);
    expect(await cli.run("stacks delete shop --yes")).toMatchObject({ code: 0, out: "Stack shop was removed.\n" });
    expect(looks).toBeGreaterThan(3);
  });

  it("scales several components and waits until they are ready", async () => {
    const wanted = new Map<string, number>();
    let looks = 0;
    await serve({
      scaleComponent: ({ params, body }) => {
        wanted.set(params.component, body.replicas);
        return aComponent({ name: params.component, replicas: body.replicas });
      },
      showComponent: ({ params }) => {
        looks += 1;
        const replicas = wanted.get(params.component) ?? 0;
        return aComponent({ name: params.component, replicas, ready: looks > 2 ? replicas : 0 });
      },
      async *watch() {
        yield anEvent();
      },
    });
    const ran = await cli.run("scale web=3 api=2");
    expect(ran).toMatchObject({ code: 0, out: "web: 3 of 3 ready\napi: 2 of 2 ready\n" });
    expect(ran.err).toContain("web: 0 of 3 ready");
  });

  it("follows a restart and a rollback to their end", async () => {
    await serve({
      restartComponent: () => ({ rollout: 2 }),
      rollbackComponent: ({ body }) => {
        expect(body).toEqual({ release: 3 });
        return { stack: "shop", version: 9, rollouts: [{ component: "web", number: 3 }], builds: [], unchanged: [], removed: [] };
      },
      showRollout: ({ params }) => ended({ number: params.rollout }),
      listComponents: () => ({ items: [aComponent()] }),
      async *watch() {
        yield anEvent();
      },
    });
    expect((await cli.run("restart web")).out).toMatch(/web +restarted/);
    expect((await cli.run("rollback web --to v3")).out).toMatch(/web +rolled back/);
  });

  it("tells of an aborted rollout as done when that was asked for", async () => {
    await serve({
      listRollouts: () => ({ items: [aRollout({ number: 7 })] }),
      abortRollout: () => aRollout({ number: 7 }),
      showRollout: () => ended({ number: 7, phase: "aborted" }),
      listComponents: () => ({ items: [aComponent()] }),
      async *watch() {
        yield anEvent();
      },
    });
    expect(await cli.run("rollouts abort -c web")).toMatchObject({ code: 0, out: expect.stringMatching(/web +aborted/) as string });
  });
});

describe("logs", () => {
  it("name who speaks, keep a terminal safe, and are objects with --json", async () => {
    await serve({
      async *readStackLogs({ query }) {
        expect(query).toEqual({ tail: 200, follow: false });
        yield logLine("hello", { component: "web" });
        yield logLine("\x1b]0;title\x07\x1b[32mgreen", { component: "worker", instance: "worker-x" });
      },
    });
    expect((await cli.run("logs")).out).toBe("web | hello\nworker | \x1b]0;title\x07\x1b[32mgreen\n");
    expect((await cli.run("logs", { terminal: 80 })).out).not.toContain("title");
    expect(
      (await cli.run("logs --json")).out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { text: string }).text),
    ).toEqual(["hello", "\x1b]0;title\x07\x1b[32mgreen"]);
  });

  it("of one component tell its instances apart once there are two, since the time that was asked for", async () => {
    await serve({
      async *readLogs({ query }) {
        expect(query).toMatchObject({ since: "2026-03-01T11:50:00.000Z" });
        yield logLine("a");
        yield logLine("b", { instance: "web-2" });
      },
    });
    expect((await cli.run("logs web --since 10m")).out).toBe("web | a\nweb/2 | b\n");
  });

  it("that are followed end with Ctrl-C, and nothing is said about it", async () => {
    let interrupt: () => void = () => undefined;
    await serve({
      async *readStackLogs({ signal }) {
        yield logLine("hello", { component: "web" });
        interrupt();
        await new Promise((resolve) => {
          signal.addEventListener("abort", resolve);
        });
      },
    });
    expect(
      await cli.run("logs -f", {
        onStart: (call) => {
          interrupt = call;
        },
      }),
    ).toEqual({ code: 130, out: expect.stringMatching(/^(web \| hello\n)?$/) as string, err: "" });
  });

  it("of a build are read from the newest one", async () => {
    await serve({
      listBuilds: () => ({ items: [aBuild({ number: 12 })] }),
      async *readBuildLogs({ params }) {
        expect(params.build).toBe(12);
        yield { at: now.toISOString(), stream: "stdout", text: "added 3 packages", cursor: "1" };
      },
    });
    expect((await cli.run("builds logs")).out).toBe("added 3 packages\n");
  });
});

describe("run", () => {
  it("prints what the task prints, each stream to its own, and ends with its exit code", async () => {
    await serve({
      createTask: ({ body }) => {
        expect(body).toEqual({ command: { exec: ["node", "-e", "x", "--json"] } });
        return aTask();
      },
      async *readTaskLogs() {
        yield logLine("out");
        yield logLine("err", { stream: "stderr" });
      },
      showTask: () =>
        aTask({ phase: "failed", exitCode: 7, endedAt: now.toISOString(), cause: { code: "exited_at_start", params: {}, evidence: [] } }),
    });
    const ran = await cli.run("run -c web -- node -e x --json");
    expect(ran).toMatchObject({ code: 7, out: "out\n" });
    expect(ran.err).toContain("err\n");
  });

  it("without a command runs a cron component now, and asks which command otherwise", async () => {
    await serve({
      showComponent: ({ params }) => aComponent({ name: params.component, kind: params.component === "web" ? "web" : "cron" }),
      runSchedule: () => aTask({ component: "nightly" }),
      async *readTaskLogs() {
        yield logLine("done");
      },
      showTask: () => aTask({ phase: "succeeded", exitCode: 0, endedAt: now.toISOString() }),
    });
    expect(await cli.run("run -c nightly")).toMatchObject({ code: 0, out: "done\n" });
    expect(await cli.run("run -c web")).toMatchObject({ code: 2 });
  });
});

describe("exec", () => {
  it("carries bytes both ways without a terminal, and ends with the command's exit code", async () => {
    let command: unknown;
    await serve({
      openTerminal: ({ query, headers }, socket) => {
        command = [JSON.parse(query.command), query.tty, headers.authorization];
        const pieces: Buffer[] = [];
        socket.on("message", (data, binary) => {
          const frame = binary ? readTerminalFrame(data as Buffer) : undefined;
          if (frame !== undefined) pieces.push(Buffer.from(frame.bytes));
          else if (readTerminalControl(String(data))?.type === "eof") {
            socket.send(terminalFrame("stdout", Buffer.concat(pieces)));
            socket.send(terminalFrame("stderr", Buffer.from("oops\n")));
            socket.send(JSON.stringify({ type: "exit", exitCode: 7 }));
            socket.close(1000);
          }
        });
      },
    });
    const big = "x".repeat(3_000_000);
    const ran = await cli.run("exec -c web -- cat -q", { stdin: big });
    expect(command).toEqual([{ exec: ["cat", "-q"] }, false, "Bearer t"]);
    expect(ran.out === big).toBe(true);
    expect(ran).toMatchObject({ code: 7, err: "oops\n" });
  });

  it("asks for a terminal of this size where there is one, and says by which signal the command ended", async () => {
    await serve({
      openTerminal: ({ query }, socket) => {
        expect(query.tty).toBe(true);
        socket.send(JSON.stringify({ type: "exit", signal: "SIGKILL" }));
      },
    });
    expect((await cli.run("exec -c web", { terminal: 80, stdin: "" })).code).toBe(137);
  });

  it("fails with the server's words, and when the connection breaks", async () => {
    await serve({
      openTerminal: ({ params }, socket) => {
        if (params.component === "web")
          socket.send(
            JSON.stringify({
              type: "error",
              problem: { type: "#x", title: "x", status: 409, code: "wrong_state", detail: "It is stopped.", requestId: "r" },
            }),
          );
        else socket.terminate();
      },
    });
    expect(await cli.run("exec -c web -- ls")).toMatchObject({ code: 1, err: "Error: It is stopped.\n" });
    expect(await cli.run("exec -c api -- ls")).toMatchObject({ code: 1, err: expect.stringContaining("connection broke") as string });
  });
});

describe("forward", () => {
  /** Answers as a server: what comes in upper case, and then its end. */
  const upper = (socket: WebSocket): void => {
    socket.on("message", (data, binary) => {
      if (binary) socket.send(String(data).toUpperCase(), { binary: true });
      else if (readPortControl(String(data))?.type === "eof") {
        socket.send(JSON.stringify({ type: "eof" }));
        socket.close(1000);
      }
    });
  };

  it("carries each connection to the instance, and the end of either side", async () => {
    const asked: unknown[] = [];
    await serve({
      openPort: ({ query, headers }, socket) => {
        asked.push([query.port, query.instance, headers.authorization]);
        upper(socket);
      },
    });
    const listening = Promise.withResolvers<string>();
    let interrupt = (): void => undefined;
    const running = cli.run("forward -c web :http -i web-1", {
      onStart: (call) => (interrupt = call),
      onOut: (said) => listening.resolve(said),
    });
    const [, port] = /^127\.0\.0\.1:(\d+) -> web http\n$/.exec(await listening.promise) ?? [];
    const answers = await Promise.all(
      ["one", "two"].map(async (word) => {
        const client = connect({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
        client.end(word);
        return text(client);
      }),
    );
    expect(answers).toEqual(["ONE", "TWO"]);
    // The first is the question whether anybody is there.
    expect(asked).toEqual(Array.from({ length: 3 }, () => ["http", "web-1", "Bearer t"]));
    interrupt();
    expect((await running).code).toBe(0);
  });

  it("says what is wrong with a port, and with one that is taken, before it listens", async () => {
    await serve({ openPort: (_, socket) => upper(socket) });
    expect(await cli.run("forward -c web a:b:c")).toMatchObject({ code: 2, err: expect.stringContaining("LOCAL:PORT") as string });
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    expect(await cli.run(`forward -c web ${String(port)}:http`)).toMatchObject({
      code: 1,
      err: expect.stringContaining("EADDRINUSE") as string,
    });
    taken.close();
  });
});

describe("signing in", () => {
  it("trades a one-time token, remembers the new one for this user alone, and forgets it again", async () => {
    let revoked = false;
    await serve({
      showMe: () => ({ user: { id: "u", name: "ada" }, teams: [], permissions: [], allowed: {} }),
      login: ({ body }) => {
        if (body.token !== "once") throw new Refusal("login_token_invalid");
        return { token: "t", user: "ada" };
      },
      logout: () => {
        revoked = true;
        return {};
      },
    });
    const env = { BERTH_TOKEN: "" };
    expect(await cli.run("login --ask", { env, stdin: "wrong\n" })).toMatchObject({ code: 3 });
    expect(await cli.run("login --ask", { env, stdin: "once\n" })).toMatchObject({ code: 0, out: `Signed in to ${api.url} as ada.\n` });
    const file = join(cli.home, ".config", "berth", "credentials.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ current: api.url, servers: { [api.url]: { token: "t", user: "ada" } } });
    expect(await cli.run("whoami", { env: { ...env, BERTH_SERVER: "" } })).toMatchObject({ code: 0 });
    expect(await cli.run("logout", { env })).toMatchObject({ code: 0 });
    expect(revoked).toBe(true);
    expect(readFileSync(file, "utf8")).not.toContain('"t"');
  });

  it("takes an API token as it is", async () => {
    await serve({ showMe: () => ({ user: { id: "u", name: "ci" }, teams: [], permissions: [], allowed: {} }) });
    expect(await cli.run("login --token t", { env: { BERTH_TOKEN: "" } })).toMatchObject({
      code: 0,
      out: expect.stringContaining("as ci") as string,
    });
    expect(existsSync(join(cli.home, ".config", "berth", "credentials.json"))).toBe(true);
  });
});

describe("doctor", () => {
  it("works with the server down, and with it up adds what the server finds", async () => {
    await serve({
      showInstallation: () => ({ id: "i", version: "0.1.0", apiVersion: "v1", now: now.toISOString(), routerUrl: "http://127.0.0.1:8080" }),
      runDoctor: () => ({ checks: [{ name: "disk", status: "warning", found: "2 GB free", why: "It matters.", next: "Make room." }] }),
    });
    const up = await cli.run("doctor");
    expect(up).toMatchObject({ code: 0 });
    expect(up.out).toMatch(
      /ok +server: .* answers[^]*warning +disk: 2 GB free\n +It matters\.\n +Next: Make room\.\n\nNothing is broken; 1 could be better\./,
    );
    const down = await cli.run("doctor --server https://127.0.0.1:1");
    expect(down).toMatchObject({ code: 1 });
    expect(down.out).toMatch(/ok +command line[^]*failed +server/);
  });
});

describe("a folder's .berth.json", () => {
  it("chooses server, stack and component for everything in and below it", async () => {
    await serve({ showComponent: ({ params }) => aComponent({ stack: params.stack, name: params.component }) });
    const folder = mkdtempSync(join(tmpdir(), "berth-json-"));
    try {
      writeFileSync(join(folder, ".berth.json"), JSON.stringify({ server: api.url, stack: "blog", component: "front" }));
      const ran = await cli.run("components show --json", { cwd: folder, env: { BERTH_SERVER: "", BERTH_STACK: "" } });
      expect(JSON.parse(ran.out)).toMatchObject({ stack: "blog", name: "front" });
      writeFileSync(join(folder, ".berth.json"), "{");
      expect(await cli.run("components show", { cwd: folder })).toMatchObject({
        code: 2,
        err: expect.stringContaining("is not JSON") as string,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
