// The main job on the Docker engine: the same server, commands and truth as with processes, over a real dockerd.
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { DockerApi } from "../../packages/server/src/docker/api.ts";
import { archive, startLoad, webApp, type Files, type TestBerth } from "../harness.ts";
import { base, DockerPlace, foundWhole, until, type engines } from "./place.ts";

interface Container {
  readonly Id: string;
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
}

/** `first`: what shows within a minute that all of it is there; the rest is for the long tests. */
export function engineTests(kind: (typeof engines)[number][0], missing: string | undefined, extent: "all" | "first"): void {
  const test = missing === undefined ? it : it.skip;
  const also = extent === "all" ? test : (): void => undefined;
  let place: DockerPlace;
  let api: DockerApi;
  let berth: TestBerth;

  beforeAll(async () => {
    if (missing !== undefined) return;
    place = await DockerPlace.open({}, {}, { kind });
    ({ api, berth } = place);
  }, 900_000);
  afterAll(() => place?.[Symbol.asyncDispose]());

  /** Those of a stack's instances, whatever their state. */
  const containers = async (stack: string, component = "web"): Promise<Container[]> => {
    const label = [`berth.stack=${stack}`, `berth.component=${component}`, "berth.role=instance"];
    return api.json<Container[]>("GET", "/containers/json", { query: { all: true, filters: JSON.stringify({ label }) } });
  };

  test("builds an image from a folder and answers through the router", async () => {
    const [rollout] = await berth.deployed("first", webApp("one"));
    expect(rollout).toMatchObject({ phase: "succeeded", release: 1, wanted: 1, ready: 1 });
    expect(rollout?.verified?.[0]).toMatchObject({ status: 200 });
    expect((await berth.get("web.first.localhost")).body).toMatch(/^one web-/);
    const [container] = await containers("first");
    expect(container).toMatchObject({
      State: "running",
      Labels: { "berth.stack": "first", "berth.component": "web", "berth.release": "1" },
    });
  });

  test("loses no request while it is released, scaled, restarted and rolled back", async () => {
    await berth.deployed("calm", webApp("one"));
    const load = startLoad(berth, "web.calm.localhost");
    const params = { stack: "calm", component: "web" };
    await berth.deployed("calm", webApp("two"));
    await berth.client.scaleComponent({ params, body: { replicas: 3 } });
    await until(async () => ((await berth.client.showComponent({ params })).ready === 3 ? true : undefined), "three are ready");
    const restarted = await berth.client.restartComponent({ params });
    await berth.ended("calm", "web", restarted.rollout ?? 0);
    const rolled = await berth.client.rollbackComponent({ params, body: {} });
    expect((await berth.ended("calm", "web", rolled.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    await berth.client.scaleComponent({ params, body: { replicas: 1 } });
    let there: Container[] = [];
    await until(
      async () => ((there = await containers("calm")).length === 1 ? true : undefined),
      "one is left",
      undefined,
      () => [berth.log(), ...there.map(({ Id, State }) => `${Id} ${State}`)].join("\n"),
    );
    await until(async () => (load.count() > 500 ? true : undefined), "a load worth the name");
    expect((await load.stop()).failed).toEqual([]);
    expect((await berth.get("web.calm.localhost")).body).toMatch(/^one web-/);
  });

  also("lets components find each other by name, also one that came later", async () => {
    const asks = webApp(
      "shop",
      `server.on("request", () => undefined);
const ask = (url, answer) => http.get(url, (r) => r.pipe(answer.setHeader("x-answered", r.statusCode))).on("error", (e) => { answer.statusCode = 502; answer.end(String(e)); });
server.removeAllListeners("request");
server.on("request", (request, answer) => request.url === "/" ? answer.end("shop") : request.url === "/env" ? answer.end(JSON.stringify(process.env)) : ask("http://" + request.url.slice(1) + "/", answer));`,
    );
    const compose = (more: string): Files => ({
      "compose.yaml": `services:
  web: {build: web, x-berth: {probes: {readiness: {check: {type: tcp}}}}, ports: ["8080"]}
  api: {build: api, expose: ["9000"], environment: {PORT: "9000"}}
${more}`,
    });
    const contexts = { web: asks, api: webApp("api") };
    await berth.deployed("pair", compose(""), contexts);
    expect((await berth.get("web.pair.localhost", "/api:9000")).body).toMatch(/^api api-/);
    expect(JSON.parse((await berth.get("web.pair.localhost", "/env")).body)).toMatchObject({ API_HOST: "api", API_PORT: "9000" });
    await berth.deployed("pair", compose(`  late: {build: late, expose: ["9000"], environment: {PORT: "9000"}}\n`), {
      ...contexts,
      late: webApp("late"),
    });
    // The inner answer's status tells which of the two requests went wrong.
    expect(await berth.get("web.pair.localhost", "/late:9000")).toMatchObject({
      headers: { "x-answered": "200" },
      body: expect.stringMatching(/^late late-/) as string,
    });
    // Nobody of another stack has that name.
    await berth.deployed("other", asks);
    expect((await berth.get("web.other.localhost", "/api:9000")).status).toBe(502);
  });

  also("fails a release whose siblings could not reach it, because another program has its address, and says who", async () => {
    const compose = (more: string): Files => ({ "compose.yaml": `services:\n  web: {build: web, ports: ["8080"]}\n${more}` });
    const sibling = `  api: {build: api, expose: ["9000"], environment: {PORT: "9000"}}\n`;
    const contexts = { web: webApp("web"), api: webApp("api") };
    await berth.deployed("taken", compose(""), { web: contexts.web });
    const [web] = await containers("taken");
    const { HostConfig } = await api.json<{ HostConfig: { Mounts?: { Source: string; Target: string }[]; Binds?: string[] } }>(
      "GET",
      `/containers/${web?.Id ?? ""}/json`,
    );
    // Docker tells it as it was asked for, podman as a bind.
    const mounted = HostConfig.Mounts?.find(({ Target }) => Target === "/etc/hosts")?.Source;
    const bound = HostConfig.Binds?.map((bind) => bind.split(":")).find(([, target]) => target === "/etc/hosts")?.[0];
    const hosts = readFileSync(mounted ?? bound ?? "", "utf8");
    const first = /^(\d+\.\d+\.\d+\.)(\d+) web$/m.exec(hosts);
    const address = `${first?.[1] ?? ""}${String(Number(first?.[2]) + 1)}`;
    const other = createServer().listen(9000, address);
    try {
      await once(other, "listening");
      const made = await berth.up("taken", compose(sibling), contexts);
      const number = made.rollouts.find(({ component }) => component === "api")?.number ?? 0;
      expect(await berth.ended("taken", "api", number)).toMatchObject({
        phase: "failed",
        cause: {
          code: "inner_address_unavailable",
          params: { address: `${address}:9000`, reason: `node (pid ${String(process.pid)}) listens there` },
        },
      });
    } finally {
      other.close();
    }
    await berth.deployed("taken", compose(sibling), contexts);
  });

  also("runs an image from outside as it is: its entry point, a volume, and rights that it drops itself", async () => {
    const store = (version: string): Files => ({
      Dockerfile: `FROM ${base}
RUN useradd --system store
COPY entry.sh store.js /
VOLUME /data
ENTRYPOINT ["/bin/sh", "/entry.sh"]
CMD ["node", "/store.js"]`,
      "entry.sh": `chown store /data && exec setpriv --reuid=store --regid=store --init-groups "$@"\n`,
      "store.js": `const fs = require("fs");
process.on("SIGTERM", () => process.exit(0));
require("net").createServer((socket) => socket.once("data", (data) => {
  const [verb, value] = String(data).trim().split(" ");
  if (verb === "set") fs.writeFileSync("/data/value", value);
  socket.end("${version} " + process.getuid() + " " + (fs.existsSync("/data/value") ? fs.readFileSync("/data/value", "utf8") : "nothing"));
})).listen(6379);`,
    });
    const build = async (version: string): Promise<void> => {
      const answer = await api.stream("POST", "/build", { query: { t: "berth-test/store:1" }, body: await archive(store(version)) });
      expect(await text(answer)).toContain("Successfully tagged");
    };
    const web: Files = {
      "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js" } }),
      "server.js": `const net = require("net");
require("http").createServer((request, answer) => {
  if (request.url === "/") return answer.end("asks");
  const socket = net.connect(6379, "store", () => socket.write(decodeURIComponent(request.url.slice(1))));
  socket.on("error", (error) => { answer.statusCode = 502; answer.end(String(error)); }).pipe(answer);
}).listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));`,
    };
    const project: Files = {
      "compose.yaml": `services:
  web: {build: web, ports: ["8080"], depends_on: [store]}
  store: {image: "berth-test/store:1", expose: ["6379"], volumes: ["data:/data"]}
volumes: {data: {}}
`,
    };
    await build("v1");
    await berth.deployed("stock", project, { web });
    const ask = async (what: string): Promise<string> => (await berth.get("web.stock.localhost", `/${encodeURIComponent(what)}`)).body;
    expect(await ask("set kept")).toMatch(/^v1 [1-9]\d* kept$/);
    const [first] = await containers("stock", "store");
    const restarted = await berth.client.restartComponent({ params: { stack: "stock", component: "store" } });
    expect((await berth.ended("stock", "store", restarted.rollout ?? 0)).phase).toBe("succeeded");
    expect(await ask("get")).toMatch(/^v1 [1-9]\d* kept$/);
    expect((await containers("stock", "store"))[0]?.Id).not.toBe(first?.Id);
    // The tag stands for another image now: it is taken when somebody deploys, and the old one again by a rollback.
    await build("v2");
    await berth.deployed("stock", project, { web });
    expect(await ask("get")).toMatch(/^v2 [1-9]\d* kept$/);
    const named = await berth.cli(["up", "--image", "berth-test/store:1", "--kind", "worker", "-s", "named", "--yes"]);
    expect(named).toMatchObject({ code: 0, said: expect.stringContaining("1 of 1 ready") as string });
    const back = await berth.client.rollbackComponent({ params: { stack: "stock", component: "store" }, body: {} });
    expect((await berth.ended("stock", "store", back.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    expect(await ask("get")).toMatch(/^v1 [1-9]\d* kept$/);
  });

  also("says why an image cannot be had, once it was tried for a while", async () => {
    const compose =
      "services: {web: {image: '127.0.0.1:1/nobody/has:this', ports: ['8080'], x-berth: {strategy: {type: rolling, progressDeadline: 3s}}}}\n";
    const made = await berth.up("absent", { "compose.yaml": compose });
    const ended = await berth.ended("absent", "web", made.rollouts[0]?.number ?? 0);
    expect(ended).toMatchObject({
      phase: "failed",
      cause: { code: "image_pull_failed", params: { image: "127.0.0.1:1/nobody/has:this" } },
    });
  });

  also("builds the repository's own Dockerfile, and starts it as that says", async () => {
    const own = (line: string): Files => ({
      Dockerfile: `FROM ${base}\nARG WORD=none\nENV WORD=$WORD\nCOPY server.js /srv/\n${line}`,
      "server.js":
        "require('http').createServer((_, answer) => answer.end(process.env.WORD + ' ' + process.argv[2])).listen(process.env.PORT); process.on('SIGTERM', () => process.exit(0));",
      "compose.yaml": "services: {web: {build: {context: ., args: {WORD: given}}, ports: ['8080']}}\n",
    });
    await berth.deployed("own", own('ENTRYPOINT ["node", "/srv/server.js"]\nCMD ["as-it-says"]'));
    expect((await berth.get("web.own.localhost")).body).toBe("given as-it-says");
    const made = await berth.up("own", own("RUN echo about to fail && exit 9"));
    const ended = await berth.ended("own", "web", made.rollouts[0]?.number ?? 0);
    expect(ended).toMatchObject({ phase: "failed", cause: { code: "dockerfile_step_failed" } });
    expect(JSON.stringify(ended.cause)).toContain("about to fail");
    expect((await berth.get("web.own.localhost")).body).toBe("given as-it-says");
  });

  test("is found whole by the doctor", async () => {
    await foundWhole(berth);
  });

  also("shows what it wrote, runs commands in it, and tells no secret", async () => {
    await berth.client.createStack({ body: { name: "talk" } });
    await berth.client.setSecret({ params: { stack: "talk", secret: "word" }, body: { value: "xyzzy-4711" } });
    await berth.deployed("talk", {
      ...webApp("talks", "console.log('the word is ' + process.env.WORD);"),
      "compose.yaml": "services:\n  web: {build: ., x-berth: {secrets: {WORD: word}}, ports: ['8080']}\n",
    });
    const logs = await until(async () => {
      const { said } = await berth.cli(["logs", "--stack", "talk"]);
      return said.includes("listening on") ? said : undefined;
    }, "its lines");
    expect(logs).toContain("the word is ");
    expect(logs).not.toContain("xyzzy-4711");
    const exec = await berth.cli(["exec", "--stack", "talk", "-c", "web", "--", "sh", "-c", "echo from $BERTH_COMPONENT; exit 7"]);
    expect(exec).toEqual({ code: 7, said: expect.stringContaining("from web") as string });
    const forwarded = await berth.throughForward(["--stack", "talk", "-c", "web"], ["/a", "/b"]);
    expect(forwarded).toMatchObject({ code: 0, answers: [expect.stringContaining("talks"), expect.stringContaining("talks")] });
    const run = await berth.cli(["run", "--stack", "talk", "-c", "web", "--", "sh", "-c", "echo once; exit 3"]);
    expect(run.said).toContain("once");
    expect(run.code).not.toBe(0);
  });

  also("runs by schedule and as a task in the same image, with their output", async () => {
    const report = "console.log('report of ' + process.env.BERTH_COMPONENT);";
    await berth.deployed("nightly", {
      ...webApp("nightly"),
      "report.js": report,
      "compose.yaml": `services:
  web: {build: ., ports: ["8080"]}
  report: {build: ., command: node report.js, x-berth: {schedule: {cron: "30 3 * * *", deadline: 60s}}}
`,
    });
    const params = { stack: "nightly", component: "report" };
    await until(async () => ((await berth.client.showComponent({ params })).state === "scheduled" ? true : undefined), "it is scheduled");
    expect(await containers("nightly", "report")).toEqual([]);
    const { number } = await berth.client.runSchedule({ params });
    const done = await until(async () => {
      const found = await berth.client.showTask({ params: { stack: "nightly", task: number } });
      return found.phase === "succeeded" || found.phase === "failed" ? found : undefined;
    }, "the run ends");
    expect(done).toMatchObject({ phase: "succeeded", exitCode: 0 });
    const once = await berth.cli(["run", "--stack", "nightly", "-c", "web", "--", "node", "report.js"]);
    expect(once, once.said).toMatchObject({ code: 0, said: expect.stringContaining("report of web") as string });
  });

  also("builds and runs the files that `berth init` wrote", async () => {
    const folder = mkdtempSync(join(tmpdir(), "be-init-"));
    try {
      for (const [name, content] of Object.entries(webApp("owned"))) writeFileSync(join(folder, name), content);
      const init = await berth.cli(["init", "--stack", "owned"], folder);
      expect(init.said).toMatch(/Dockerfile +written[\s\S]*compose.yaml +written/);
      // Whoever owns the file chooses what it stands on.
      const file = join(folder, "Dockerfile");
      writeFileSync(file, readFileSync(file, "utf8").replaceAll(/^FROM \S+/gm, `FROM ${base}`));
      const up = await berth.cli(["up", "--stack", "owned", "--yes"], folder);
      expect(up, up.said).toMatchObject({ code: 0, said: expect.stringContaining("answered 200") as string });
      expect((await berth.get("web.owned.localhost")).body).toMatch(/^owned web-/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  also("keeps the old release and says why when the new one ends at once", async () => {
    await berth.deployed("brave", webApp("good"));
    const made = await berth.up("brave", webApp("bad", "throw new TypeError('no database here');"));
    const ended = await berth.ended("brave", "web", made.rollouts[0]?.number ?? 0, 180_000);
    expect(ended.phase).toBe("failed");
    expect(JSON.stringify(ended.cause)).toContain("TypeError: no database here");
    expect((await berth.get("web.brave.localhost")).body).toMatch(/^good web-/);
  });

  also("puts back a container that somebody removed, and says so", async () => {
    await berth.deployed("worn", webApp("back"));
    const [gone] = await containers("worn");
    await api.json("DELETE", `/containers/${gone?.Id ?? ""}`, { query: { force: true } });
    await until(async () => {
      const [now] = await containers("worn");
      return now !== undefined && now.Id !== gone?.Id && now.State === "running" ? true : undefined;
    }, "another one runs");
    await until(async () => ((await berth.get("web.worn.localhost")).status === 200 ? true : undefined), "it answers");
    await until(async () => {
      const { items } = await berth.client.listEvents({ query: { stack: "worn", limit: 200 } });
      return items.some((event) => event.code === "component_repaired") || undefined;
    }, "the event that tells of it");
  });

  also("goes on with the same containers after the server and the agent were killed", async () => {
    await berth.deployed("tough", webApp("same"));
    const before = await containers("tough");
    const load = startLoad(berth, "web.tough.localhost", "/", 2);
    const edge = Number(readFileSync(join(berth.home, "run", "edge.lock"), "utf8").split(" ")[0]);
    const agent = childrenOf(edge).find((pid) => readFileSync(`/proc/${String(pid)}/cmdline`, "utf8").includes("containers"));
    if (agent === undefined) throw new Error("the edge has no agent");
    process.kill(agent, "SIGKILL");
    process.kill(berth.serverPid(), "SIGKILL");
    await berth.startServer();
    await berth.deployed("tough", webApp("next"));
    expect((await load.stop()).failed).toEqual([]);
    await until(async () => (await containers("tough")).every((one) => one.Id !== before[0]?.Id) || undefined, "the old one is gone");
    expect((await berth.get("web.tough.localhost")).body).toMatch(/^next web-/);
  });

  test("leaves nothing of a stack that is deleted", async () => {
    await berth.deployed("brief", webApp("brief"));
    await berth.client.deleteStack({ params: { stack: "brief" } });
    await until(async () => ((await containers("brief")).length === 0 ? true : undefined), "its containers are gone");
    const mine = async (): Promise<string[]> =>
      (await api.json<{ Name: string; Labels: Record<string, string> | null }[]>("GET", "/networks")).flatMap(({ Name, Labels }) =>
        Labels?.["berth.stack"] === "brief" ? [Name] : [],
      );
    await until(async () => ((await mine()).length === 0 ? true : undefined), "its network is gone");
  });
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, "utf8")
    .trim()
    .split(" ")
    .map(Number);
}
