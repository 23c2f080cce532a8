// Everything that runs beside a web component: workers, volumes, tasks, schedules, secrets, terminals, TCP, scaling and repair, each with real processes.
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Task } from "@berth/contract/resources/tasks.ts";
import type { LogLine } from "@berth/contract/resources/components.ts";
import { freePort } from "../packages/server/src/edge/testing/harness.ts";
import { programs, runSession } from "./apps.ts";
import { TestBerth, getThrough, isAlive, until, type Files } from "./harness.ts";
import { edgePids } from "./load/machine.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
}, 120_000);
afterAll(async () => {
  await berth?.stop();
}, 120_000);

const host = (stack: string, component = "web"): string => `${component}.${stack}.localhost`;
const withCompose = (compose: string, version = "one"): Files => ({ ...programs(version), "compose.yaml": compose });
const one = (component: string, more: string): string =>
  `services:\n  ${component}:\n    build: .\n${more
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n")}\n`;
const ended = (stack: string, task: number): Promise<Task> =>
  until(
    async () => {
      const found = await berth.client.showTask({ params: { stack, task } });
      return found.endedAt === undefined ? undefined : found;
    },
    `task ${task} of ${stack} to end`,
    60_000,
    () => berth.log(),
  );
const instances = async (stack: string, component = "web") => (await berth.client.listInstances({ params: { stack, component } })).items;
const ready = (stack: string, count: number, component = "web") =>
  until(
    async () => {
      const found = await instances(stack, component);
      return found.length === count && found.every((instance) => instance.ready) ? found : undefined;
    },
    `${count} ready instances of ${stack}/${component}`,
    60_000,
    () => berth.log(),
  );
async function lines(stream: AsyncIterable<{ readonly data: LogLine }>): Promise<LogLine[]> {
  const all: LogLine[] = [];
  for await (const { data } of stream) all.push(data);
  return all;
}
async function firstLine(stack: string, component: string, wanted: RegExp): Promise<LogLine> {
  const stop = new AbortController();
  const late = setTimeout(() => {
    stop.abort(new Error(`no line like ${wanted.source} from ${component}`));
  }, 60_000);
  try {
    for await (const { data } of berth.client.readLogs(
      { params: { stack, component }, query: { follow: true, tail: 100 } },
      { signal: stop.signal },
    ))
      if (wanted.test(data.text)) return data;
    throw new Error("the stream ended");
  } finally {
    clearTimeout(late);
    stop.abort();
  }
}
const eventsOf = async (stack: string) => (await berth.client.listEvents({ query: { stack, limit: 200 } })).items;

const shop = `x-berth: { runEnv: staging }
services:
  web:
    build: .
    command: node web.js
    ports: ["8080:3000"]
    depends_on: { api: { condition: service_healthy } }
  api:
    build: .
    command: node web.js
    expose: ["4000"]
    healthcheck: { test: ["CMD", "curl", "-f", "http://localhost:4000/alive"], interval: 1s }
    volumes: ["data:/data"]
  worker:
    build: .
    command: node worker.js
    depends_on: [api]
volumes: { data: {} }
`;

describe.concurrent("what runs", () => {
  test("of a Compose file: web, API with a volume and worker, in order of their dependencies, reaching each other", async () => {
    const rollouts = await berth.deployed("shop", withCompose(shop));
    const of = (component: string) => rollouts.find((rollout) => rollout.component === component);
    expect(Date.parse(of("web")?.startedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(of("api")?.endedAt ?? "z"));
    expect((await berth.get(host("shop"), "/fetch")).body).toMatch(/^one \d+$/);
    expect(JSON.parse((await berth.get(host("shop"), "/env")).body)).toMatchObject({ RUN_ENV: "staging" });
    expect((await firstLine("shop", "worker", /job \d+ got one/)).stream).toBe("stdout");
    const kinds = Object.fromEntries(
      (await berth.client.listComponents({ params: { stack: "shop" } })).items.map((item) => [item.name, item.kind]),
    );
    expect(kinds).toEqual({ web: "web", api: "worker", worker: "worker" });
    const internal = (await berth.client.showComponent({ params: { stack: "shop", component: "api" } })).internal;
    expect(await (await fetch(`${Object.values(internal)[0] ?? ""}/`)).text()).toMatch(/^one api-/);

    const all = await lines(berth.client.readStackLogs({ params: { stack: "shop" }, query: { tail: 50 } }));
    expect(new Set(all.map((line) => line.component))).toEqual(new Set(["web", "api", "worker"]));
    expect(all.map((line) => line.at)).toEqual(all.map((line) => line.at).toSorted());
    await until(
      async () =>
        (await lines(berth.client.readLogs({ params: { stack: "shop", component: "worker" }, query: { tail: 2 } }))).length === 2 ||
        undefined,
      "the worker's last two lines",
    );

    const usage = (await berth.client.showUsage({ params: { stack: "shop" } })).items;
    expect(usage.map((item) => [item.component, item.instances.length]).toSorted()).toEqual([
      ["api", 1],
      ["web", 1],
      ["worker", 1],
    ]);
    for (const {
      instances: [figures],
    } of usage)
      expect(figures?.memory).toBeGreaterThan(1_000_000);

    const { compose } = await berth.client.exportStack({ params: { stack: "shop" } });
    const again = await berth.up("shop", { ...withCompose(shop), "compose.yaml": compose }, { ".": withCompose(shop) });
    expect(again).toMatchObject({ rollouts: [], builds: [], removed: [] });
    expect(again.unchanged.toSorted()).toEqual(["api", "web", "worker"]);

    await berth.client.updateStackConfig({ params: { stack: "shop" }, body: { values: { COLOUR: "blue" }, deploy: true } });
    await until(
      async () => (JSON.parse((await berth.get(host("shop"), "/env")).body) as { COLOUR?: string }).COLOUR === "blue" || undefined,
      "the new config to serve",
    );
    const diff = await berth.client.diffReleases({ params: { stack: "shop", component: "web", release: 2 } });
    expect(diff).toEqual({ from: 1, to: 2, changes: [{ path: expect.stringMatching(/COLOUR$/) as string, to: "blue" }] });
  });

  test("with a named volume: it outlives releases, component and stack, comes back with the stack, and goes only by name", async () => {
    const compose = (version: string): Files =>
      withCompose(
        `services:\n  store:\n    build: .\n    command: node web.js\n    volumes: ["data:/data"]\n    ports: ["3000"]\n    x-berth: { kind: stateful, domains: [store.volumes.localhost] }\nvolumes: { data: {} }\n`,
        version,
      );
    const stack = "volumes";
    const count = async (): Promise<string> => (await berth.get("store.volumes.localhost", "/count")).body;
    await berth.deployed(stack, compose("one"));
    expect(await count()).toBe("one 1");
    await berth.deployed(stack, compose("two"));
    expect(await count()).toBe("two 2");
    await expect(berth.client.deleteVolume({ params: { stack, volume: "data" } })).rejects.toMatchObject({ code: "volume_in_use" });

    await berth.client.deleteComponent({ params: { stack, component: "store" } });
    await until(
      async () => (await berth.client.listComponents({ params: { stack } })).items.length === 0 || undefined,
      "the component to be gone",
    );
    await berth.deployed(stack, compose("three"));
    expect(await count()).toBe("three 3");

    await berth.client.deleteStack({ params: { stack } });
    await until(
      async () =>
        (await berth.client
          .showStack({ params: { stack } })
          .catch((error: { code?: string }) => error.code === "not_found" || Promise.reject(error))) === true || undefined,
      "the stack to be gone",
    );
    expect((await berth.client.listAllVolumes()).items.find((volume) => volume.stack === stack)).toMatchObject({
      name: "data",
      stackDeleted: true,
      usedBy: [],
    });
    expect((await berth.get("store.volumes.localhost")).status).toBe(404);
    await berth.deployed(stack, compose("four"));
    expect(await count()).toBe("four 4");

    await berth.client.deleteStack({ params: { stack } });
    await until(
      async () => (await berth.client.listAllVolumes()).items.find((volume) => volume.stack === stack)?.stackDeleted || undefined,
      "the stack to be gone again",
    );
    await berth.client.deleteVolume({ params: { stack, volume: "data" } });
    await until(
      async () => !(await berth.client.listAllVolumes()).items.some((volume) => volume.stack === stack) || undefined,
      "the volume to be gone",
    );
    await berth.deployed(stack, compose("five"));
    expect(await count()).toBe("five 1");
    // Or with the stack, when that is asked for.
    await berth.client.deleteStack({ params: { stack }, query: { volumes: true } });
    await until(
      async () => !(await berth.client.listAllVolumes()).items.some((volume) => volume.stack === stack) || undefined,
      "the volume to go with the stack",
    );
  });

  test("once: a task has its output, exit code, cancellation and deadline", async () => {
    const params = { stack: "tasks", component: "worker" };
    await berth.deployed("tasks", withCompose(one("worker", "command: node worker.js\nenvironment: { GREETING: hello }")));
    const run = async (shell: string, deadline?: number) =>
      berth.client.createTask({ params, body: { command: { shell }, ...(deadline === undefined ? {} : { deadline }) } });
    const good = await run("echo $GREETING $RUN_ENV; ls; echo bad >&2; exit 7");
    expect(await ended("tasks", good.number)).toMatchObject({ phase: "failed", exitCode: 7, trigger: "user", release: 1 });
    const output = await lines(berth.client.readTaskLogs({ params: { stack: "tasks", task: good.number } }));
    expect(output.filter((line) => line.stream === "stdout").map((line) => line.text)).toEqual(
      expect.arrayContaining(["hello production", "worker.js"]),
    );
    expect(output.filter((line) => line.stream === "stderr").map((line) => line.text)).toEqual(["bad"]);
    expect(await ended("tasks", (await run("true")).number)).toMatchObject({ phase: "succeeded", exitCode: 0 });

    const long = await run("echo started; sleep 100");
    const followed = lines(berth.client.readTaskLogs({ params: { stack: "tasks", task: long.number }, query: { follow: true } }));
    // It runs before its shell has said anything.
    await until(
      async () => (await lines(berth.client.readTaskLogs({ params: { stack: "tasks", task: long.number } })))[0],
      "the task's first line",
    );
    await berth.client.cancelTask({ params: { stack: "tasks", task: long.number } });
    expect(await ended("tasks", long.number)).toMatchObject({ phase: "cancelled" });
    // Following ends with the task.
    expect((await followed).map((line) => line.text)).toContain("started");
    await expect(berth.client.cancelTask({ params: { stack: "tasks", task: long.number } })).rejects.toMatchObject({ code: "wrong_state" });
    expect(await ended("tasks", (await run("sleep 100", 1000)).number)).toMatchObject({
      phase: "failed",
      cause: { code: "task_deadline" },
    });
    expect(
      await ended("tasks", (await berth.client.createTask({ params, body: { command: { exec: ["no-such-program"] } } })).number),
    ).toMatchObject({ phase: "failed" });
    expect((await eventsOf("tasks")).map((event) => event.code)).toEqual(
      expect.arrayContaining(["task_created", "task_started", "task_ended"]),
    );

    // The component's removal does not leave a run behind that nobody could see any more.
    const left = await run("echo here; exec sleep 1000.25");
    await until(async () => {
      const [line] = await lines(berth.client.readTaskLogs({ params: { stack: "tasks", task: left.number } }));
      return line;
    }, "the task's first line");
    const sleeping = (): boolean =>
      readdirSync("/proc").some((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "latin1") === "sleep\x001000.25\x00";
        } catch {
          return false;
        }
      });
    await until(async () => sleeping() || undefined, "its shell to have become the sleeper");
    await berth.client.deleteComponent({ params });
    await until(
      async () => (await berth.client.listComponents({ params: { stack: "tasks" } })).items.length === 0 || undefined,
      "the component to be gone",
    );
    expect(sleeping()).toBe(false);
  });

  test("by schedule: the next run is known, a run now is a task with its output, and there is no instance in between", async () => {
    const stack = "nightly";
    await berth.deployed(
      stack,
      withCompose(
        // Not due while this runs, on any but one day of the year.
        one("report", `command: node job.js\nx-berth: { schedule: { cron: "30 3 1 1 *", timeZone: Europe/Berlin, deadline: 60s } }`),
      ),
    );
    const component = await until(async () => {
      const found = await berth.client.showComponent({ params: { stack, component: "report" } });
      return found.state === "scheduled" && found.nextRunAt !== undefined ? found : undefined;
    }, "the component to be scheduled");
    expect(Date.parse(component.nextRunAt ?? "")).toBeGreaterThan(Date.now());
    expect(await instances(stack, "report")).toEqual([]);
    const task = await ended(stack, (await berth.client.runSchedule({ params: { stack, component: "report" } })).number);
    expect(task).toMatchObject({ phase: "succeeded", exitCode: 0, component: "report" });
    expect((await lines(berth.client.readTaskLogs({ params: { stack, task: task.number } }))).map((line) => line.text)).toContain(
      "job ran in production",
    );
    await expect(berth.client.scaleComponent({ params: { stack, component: "report" }, body: { replicas: 2 } })).rejects.toMatchObject({
      code: "wrong_state",
    });
  });

  test("with a secret: it is in the environment and nowhere that anyone can read", async () => {
    const stack = "hush";
    const value = "tr0ub4dor-and-3-horses";
    await berth.client.createStack({ body: { name: stack } });
    await berth.client.setSecret({ params: { stack, secret: "db-password" }, body: { value } });
    await berth.deployed(
      stack,
      withCompose(one("web", 'command: node web.js\nports: ["3000"]\nx-berth: { secrets: { SECRET_TEXT: db-password } }')),
    );
    expect((JSON.parse((await berth.get(host(stack), "/env")).body) as { SECRET_TEXT: string }).SECRET_TEXT).toBe(value);
    expect((await firstLine(stack, "web", /the secret is/)).text).not.toContain(value);
    const task = await ended(
      stack,
      (
        await berth.client.createTask({
          params: { stack, component: "web" },
          body: { command: { shell: "echo it is $SECRET_TEXT; false" } },
        })
      ).number,
    );
    await berth.client.setSecret({ params: { stack, secret: "db-password" }, body: { value: `${value}-2` } });
    const deployed = await berth.client.deployComponent({ params: { stack, component: "web" }, body: {} });
    expect((await berth.ended(stack, "web", deployed.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    const component = { params: { stack, component: "web" } };
    const diff = await berth.client.diffReleases({ params: { stack, component: "web", release: 2 } });
    expect(diff.changes).toEqual([{ path: expect.stringMatching(/SECRET_TEXT/) as string, from: 1, to: 2 }]);
    const everything = JSON.stringify([
      diff,
      task,
      await eventsOf(stack),
      await berth.client.listReleases(component),
      await berth.client.showComponent(component),
      await berth.client.listInstances(component),
      await berth.client.listSecrets({ params: { stack } }),
      await berth.client.listRollouts(component),
      await berth.client.showConfig(component),
      await berth.client.exportStack({ params: { stack } }),
      await lines(berth.client.readStackLogs({ params: { stack } })),
      await lines(berth.client.readTaskLogs({ params: { stack, task: task.number } })),
    ]);
    expect(everything).toContain("db-password");
    expect(everything).not.toContain(value);
    expect(berth.log()).not.toContain(value);
    await expect(berth.client.deleteSecret({ params: { stack, secret: "db-password" } })).rejects.toMatchObject({ code: "wrong_state" });
  });

  test("over TCP: from outside by the published port, from a sibling by the stable one", async () => {
    const port = await freePort();
    const text = `services:\n  echo:\n    build: .\n    command: node tcp.js\n    ports: ["${port}:7000"]\n    x-berth: { ports: { 7000: tcp } }\n  asker:\n    build: .\n    command: node worker.js\n    depends_on: [echo]\n`;
    await berth.deployed("wire", withCompose(text));
    const ask = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.write("outside");
        });
        socket
          .once("data", (data) => {
            resolve(data.toString());
            socket.destroy();
          })
          .once("error", reject)
          .once("close", () => {
            reject(new Error("closed"));
          });
      });
    expect(await ask()).toBe("one:outside");
    const before = (await berth.client.showComponent({ params: { stack: "wire", component: "echo" } })).internal;
    const task = await ended(
      "wire",
      (await berth.client.createTask({ params: { stack: "wire", component: "asker" }, body: { command: { exec: ["node", "ask.js"] } } }))
        .number,
    );
    expect((await lines(berth.client.readTaskLogs({ params: { stack: "wire", task: task.number } }))).map((line) => line.text)).toContain(
      "answer one:inside",
    );
    await berth.deployed("wire", withCompose(text, "two"));
    expect(await ask()).toBe("two:outside");
    expect((await berth.client.showComponent({ params: { stack: "wire", component: "echo" } })).internal).toEqual(before);
  });

  test("can be entered: with pipes and with a terminal of a size", async () => {
    const params = { stack: "enter", component: "worker" };
    await berth.deployed("enter", withCompose(one("worker", "command: node worker.js")));
    const open = (shell: string, tty?: { columns: number; rows: number }) =>
      berth.client.openTerminal({
        params,
        query: { command: JSON.stringify({ shell }), ...(tty === undefined ? {} : { tty: true, ...tty }) },
      });
    let sent = false;
    const piped = await runSession(open("cat; echo in $BERTH_COMPONENT; exit 5"), (session) => {
      if (sent) return;
      sent = true;
      session.write("to cat\n");
      session.control({ type: "eof" });
    });
    expect(piped).toEqual({ output: "to cat\nin worker\n", end: { type: "exit", exitCode: 5 } });
    let step = 0;
    const typed = await runSession(open("stty size; read line; stty size; exit 3", { columns: 91, rows: 33 }), (session, output) => {
      if (step === 0 && output.includes("33 91")) {
        step = 1;
        session.control({ type: "resize", columns: 120, rows: 40 });
        session.write("go\r");
      }
    });
    expect(typed.output).toMatch(/33 91[^]*40 120/);
    expect(typed.end).toEqual({ type: "exit", exitCode: 3 });
    await expect(
      runSession(
        berth.client.openTerminal({
          params: { stack: "enter", component: "nobody" },
          query: { command: JSON.stringify({ shell: "true" }) },
        }),
        () => undefined,
      ),
    ).rejects.toThrow("HTTP 404");
  });

  test("is reached at its ports, and at no other of this machine", async () => {
    await berth.deployed("reach", withCompose(one("web", 'command: node web.js\nports: ["3000"]')));
    const reached = await berth.throughForward(["--stack", "reach", "-c", "web"], ["/", "/"]);
    expect(reached).toMatchObject({ code: 0, said: expect.stringMatching(/^127\.0\.0\.1:\d+ -> web\n$/) as string });
    expect(reached.answers).toEqual([reached.answers[0], reached.answers[0]]);
    const own = new URL(berth.url).port;
    const refused = await berth.throughForward(["--stack", "reach", "-c", "web", `0:${own}`], []);
    expect(refused).toMatchObject({ code: 3, said: expect.stringContaining(`There is no port \`${own}\``) as string });
    expect((await berth.throughForward(["--stack", "reach", "-c", "web", ":metrics"], [])).said).toContain("It has http");
    const { items } = await berth.client.listAudit({ query: { action: "port.open", object: "component:reach/web" } });
    // Three connections to one port, and the attempt at another.
    expect(items).toHaveLength(2);
  });

  test("is kept as wanted: scaled, stopped, started, restarted when it hangs or dies", async () => {
    const params = { stack: "keep", component: "web" };
    await berth.deployed(
      "keep",
      withCompose(
        one(
          "web",
          'command: node web.js\nports: ["3000"]\nx-berth: { probes: { startup: { check: { type: http, path: /alive }, period: 200ms, failureThreshold: 150 }, liveness: { check: { type: http, path: /alive }, period: 300ms, timeout: 10s, failureThreshold: 2 } } }',
        ),
      ),
    );
    const [first] = await ready("keep", 1);
    await berth.client.scaleComponent({ params, body: { replicas: 5 } });
    await ready("keep", 5);
    // An instance that is ready is led to once the routers have been told of it.
    const seen = new Set<string>();
    await until(async () => seen.add((await berth.get(host("keep"))).body).size === 5 || undefined, "each of them to answer");
    await berth.client.scaleComponent({ params, body: { replicas: 1 } });
    const [left] = await ready("keep", 1);
    expect(left?.id).toBe(first?.id);

    await berth.client.stopComponent({ params });
    await until(
      async () =>
        ((await instances("keep")).length === 0 && (await berth.client.showComponent({ params })).state === "stopped") || undefined,
      "nothing to run",
    );
    expect((await berth.get(host("keep"))).status).toBe(503);
    await berth.client.startComponent({ params });
    const [started] = await ready("keep", 1);
    await until(
      async () => (await berth.client.showComponent({ params })).state === "healthy" || undefined,
      "the component to be healthy again",
      60_000,
      () => berth.log(),
    );
    expect((await berth.get(host("keep"))).status).toBe(200);

    expect((await berth.get(host("keep"), "/hang")).body).toBe("hung");
    const revived = await until(async () => {
      const [now] = await instances("keep");
      return now?.id === started?.id && now?.ready === true && now.restarts > (started?.restarts ?? 0) ? now : undefined;
    }, "the hung instance to be restarted");
    expect(revived.pid).not.toBe(started?.pid);
    process.kill(revived.pid ?? Number.NaN, "SIGKILL");
    const again = await until(async () => {
      const [now] = await instances("keep");
      return now?.ready === true && now.restarts > revived.restarts ? now : undefined;
    }, "the killed instance to be restarted");
    expect(again.id).toBe(started?.id);
    expect(JSON.stringify(await eventsOf("keep"))).toContain("SIGKILL");
  });

  test("gives way: a newer rollout ends one that hangs", async () => {
    await berth.deployed("hang", withCompose(one("web", 'command: node web.js\nports: ["3000"]')));
    const stuck = await berth.up("hang", withCompose(one("web", 'command: sleep 1000\nports: ["3000"]')));
    const number = stuck.rollouts[0]?.number ?? 0;
    await until(
      async () =>
        (await berth.client.showRollout({ params: { stack: "hang", component: "web", rollout: number } })).phase === "rolling" || undefined,
      "the rollout to hang",
    );
    await berth.deployed("hang", withCompose(one("web", 'command: node web.js\nports: ["3000"]'), "two"));
    expect((await berth.client.showRollout({ params: { stack: "hang", component: "web", rollout: number } })).phase).toBe("superseded");
    expect((await berth.get(host("hang"))).body).toMatch(/^two /);
    await ready("hang", 1);
  });

  test("is repaired: an entry that the edge lost comes back, and is counted", async () => {
    await berth.deployed("drift", withCompose(one("web", 'command: node web.js\nports: ["3000"]')));
    const repairs = async (): Promise<number> => {
      const text = await (await fetch(`${berth.url}/metrics`, { headers: { authorization: `Bearer ${berth.token}` } })).text();
      return text
        .split("\n")
        .filter((line) => line.startsWith("berth_repairs_total{") && line.includes("routes"))
        .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    };
    const before = await repairs();
    // Held up, so that it cannot repair this before anybody has seen it.
    const server = berth.serverPid();
    process.kill(server, "SIGSTOP");
    try {
      await forget("drift", "web");
      expect((await berth.get(host("drift"))).status).toBe(404);
    } finally {
      process.kill(server, "SIGCONT");
    }
    await until(
      async () => (await berth.get(host("drift"))).status === 200 || undefined,
      "the entry to be put back",
      60_000,
      () => berth.log(),
    );
    await until(async () => (await repairs()) > before || undefined, "the repair to be counted");
    await until(
      async () => (await eventsOf("drift")).some((event) => event.code === "component_repaired") || undefined,
      "the repair to be told",
    );
  });
});

/** Takes the entry out of the running edge, as a disk that lost it would. */
async function forget(stack: string, component: string): Promise<void> {
  const ask = (method: string, path: string, body?: unknown): Promise<string> =>
    new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          socketPath: join(berth.home, "run", "edge.sock"),
          agent: false,
          method,
          path,
          headers: {
            "content-type": "application/json",
            ...(body === undefined ? {} : { "content-length": Buffer.byteLength(JSON.stringify(body)) }),
          },
        },
        (response) => {
          let text = "";
          response
            .setEncoding("utf8")
            .on("data", (chunk: string) => {
              text += chunk;
            })
            .on("end", () => {
              if ((response.statusCode ?? 500) < 400) resolve(text);
              else reject(new Error(text));
            });
        },
      );
      request.on("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  const { installation } = JSON.parse(await ask("GET", "/v1/hello")) as { installation: string };
  const { entries } = JSON.parse(await ask("GET", "/v1/entries")) as {
    entries: { ref: { stack: string; component: string }; generation: number }[];
  };
  const entry = entries.find(({ ref }) => ref.stack === stack && ref.component === component);
  await ask("DELETE", `/v1/entries/${stack}/${component}`, { fence: { installation, epoch: 1, generation: entry?.generation } });
}

describe("the control plane", () => {
  const project = withCompose(
    one("web", 'command: node web.js\nports: ["3000"]\nvolumes: ["data:/data"]\nx-berth: { kind: web }') + "volumes: { data: {} }\n",
  );

  test("killed in the middle of a task: it runs on, once", async () => {
    await berth.deployed("lasting", project);
    const mark = "$BERTH_VOLUME_DATA/runs";
    const task = await berth.client.createTask({
      params: { stack: "lasting", component: "web" },
      body: { command: { shell: `echo run >> ${mark}; sleep 2; echo done >> ${mark}` } },
    });
    const early = await berth.client.createTask({
      params: { stack: "lasting", component: "web" },
      body: { command: { shell: `echo other >> ${mark}` } },
    });
    const pid = berth.serverPid();
    process.kill(pid, "SIGKILL");
    await until(async () => !isAlive(pid) || undefined, "the server to be gone");
    await berth.startServer();
    expect(await ended("lasting", task.number)).toMatchObject({ phase: "succeeded", exitCode: 0 });
    expect(await ended("lasting", early.number)).toMatchObject({ phase: "succeeded" });
    const look = await berth.client.createTask({
      params: { stack: "lasting", component: "web" },
      body: { command: { shell: `sort ${mark} | uniq -c` } },
    });
    await ended("lasting", look.number);
    expect(
      (await lines(berth.client.readTaskLogs({ params: { stack: "lasting", task: look.number } }))).map((line) => line.text.trim()),
    ).toEqual(["1 done", "1 other", "1 run"]);
  });

  test("of one home runs once: the second says who has it", async () => {
    await expect(berth.server("run")).rejects.toMatchObject({
      stderr: expect.stringContaining(`runs already, as process ${berth.serverPid()}`) as string,
    });
    expect(await berth.server("start")).toContain("runs already");
    expect(isAlive(berth.serverPid())).toBe(true);
  });

  test("stopped and started: what it deployed goes on, same process ids; stopped with everything and started: everything is back", async () => {
    const [before] = await ready("lasting", 1);
    await berth.server("stop");
    expect(isAlive(before?.pid ?? 0)).toBe(true);
    expect((await berth.get(host("lasting"))).body).toMatch(/^one /);
    await berth.startServer();
    const [after] = await ready("lasting", 1);
    expect({ id: after?.id, pid: after?.pid, restarts: after?.restarts }).toEqual({ id: before?.id, pid: before?.pid, restarts: 0 });

    const counted = Number((await berth.get(host("lasting"), "/count")).body.split(" ")[1]);
    // Also in the moment in which nobody watches over the instances.
    const agent = await until(async () => (await edgePids(berth.home))?.agent ?? undefined, "the edge to name its agent");
    process.kill(agent, "SIGKILL");
    await berth.server("stop", "--all");
    expect(isAlive(before?.pid ?? 0)).toBe(false);
    // By a connection of its own: one that was kept would be cut.
    await expect(getThrough({ ...berth.router, agent: false }, host("lasting"), "/", {})).rejects.toThrow("ECONNREFUSED");
    await berth.startServer();
    // Until the edge was heard, what is shown is from before.
    await until(
      async () => {
        const [now] = await ready("lasting", 1);
        return isAlive(now?.pid ?? 0) || undefined;
      },
      "a process that runs to be shown",
      60_000,
      () => berth.log(),
    );
    await until(
      async () => (await berth.get(host("lasting"), "/count")).body === `one ${counted + 1}` || undefined,
      "the volume's content to be served",
    );
    await until(
      async () => (await berth.client.showComponent({ params: { stack: "lasting", component: "web" } })).state === "healthy" || undefined,
      "the component to be healthy",
      60_000,
      () => berth.log(),
    );
    expect(readFileSync(join(berth.home, "server.json"), "utf8")).toContain(String(berth.serverPid()));
  });
});
