// What must be true after everything that was ordered has ended, however often anything was killed meanwhile. Each finding is a sentence; none is the aim.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { ApiError } from "@berth/contract/client-errors.ts";
import { defaultRetention } from "../../packages/server/src/reconcile/retention.ts";
import type { TestBerth } from "../harness.ts";
import { until } from "../harness.ts";
import type { Ledger } from "./scenario.ts";
import { edgePids, listeningPorts, postmasterPid, processesOf, runningInstances, type Process } from "./machine.ts";

/** Waits until nothing is on its way any more: what was accepted has ended, and every component is as it was ordered. */
export async function settled(berth: TestBerth, ledgers: readonly Ledger[], within: number): Promise<void> {
  const end = Date.now() + within;
  for (;;) {
    const open = await unfinished(berth, ledgers).catch((error: unknown) => [String(error)]);
    if (open.length === 0) return;
    if (Date.now() > end)
      throw new Error(
        `after ${String(within)} ms these had not ended:\n${open.join("\n")}\n${berth.log().split("\n").slice(-20).join("\n")}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function unfinished(berth: TestBerth, ledgers: readonly Ledger[]): Promise<string[]> {
  const open = await withDatabase(berth.home, async (db) => {
    const rows = async (what: string, sql: string): Promise<string[]> =>
      (await db.query<{ name: string }>(sql)).rows.map(({ name }) => `${what} ${name}`);
    return [
      ...(await rows(
        "rollout",
        "select s.name || '/' || c.name || ' ' || r.number || ' ' || r.phase as name from rollouts r join components c on c.id = r.component_id join stacks s on s.id = c.stack_id where r.ended_at is null",
      )),
      ...(await rows(
        "build",
        "select s.name || ' ' || b.number || ' ' || b.phase as name from builds b join stacks s on s.id = b.stack_id where b.phase in ('queued', 'running')",
      )),
      ...(await rows(
        "task",
        "select s.name || ' ' || t.number || ' ' || t.phase as name from tasks t join stacks s on s.id = t.stack_id where t.ended_at is null",
      )),
      ...(await rows(
        "removal",
        "select s.name || '/' || c.name as name from components c join stacks s on s.id = c.stack_id where c.delete_requested_at is not null",
      )),
      ...(await rows("removal", "select name from stacks where delete_requested_at is not null")),
    ];
  });
  for (const ledger of ledgers)
    if (ledger.exists) {
      const component = await berth.client.showComponent({ params: { stack: ledger.stack, component: "web" } });
      if (component.state !== (ledger.stopped ? "stopped" : "healthy")) open.push(`${ledger.stack}/web is ${component.state}`);
      const { items } = await berth.client.listInstances({ params: { stack: ledger.stack, component: "web" } });
      if (items.length !== (ledger.stopped ? 0 : ledger.replicas) || items.some((one) => !one.ready))
        open.push(`${ledger.stack}/web has ${String(items.length)} instances`);
    }
  return open;
}

/** Every order of every ledger against what came of it. */
export async function ordersKept(berth: TestBerth, ledgers: readonly Ledger[]): Promise<string[]> {
  return (await Promise.all(ledgers.map((ledger) => ordersOf(berth, ledger)))).flat();
}

async function ordersOf(berth: TestBerth, ledger: Ledger): Promise<string[]> {
  const { stack } = ledger;
  const found: string[] = [];
  if (!ledger.exists) {
    const left = await berth.client.showStack({ params: { stack } }).then(
      () => true,
      () => false,
    );
    return left ? [`${stack} was deleted and is there`] : [];
  }
  const versions = new Map<string, string>();
  for (const component of ["web", "store"]) {
    const ordered = ledger.rollouts.filter((rollout) => rollout.component === component);
    for (const { number, version, ofRelease } of ordered) {
      const rollout = await ifThere(berth.client.showRollout({ params: { stack, component, rollout: number } }));
      const newest = ordered.at(-1)?.number ?? number;
      if (rollout === undefined) {
        // Of each component the newest are kept.
        if (newest - number < defaultRetention.rollouts) found.push(`${stack}/${component}: rollout ${String(number)} is gone`);
        continue;
      }
      const last = number === newest;
      if (rollout.phase !== "succeeded" && (last || rollout.phase !== "superseded"))
        found.push(`${stack}/${component}: rollout ${String(number)} ${rollout.phase} ${JSON.stringify(rollout.cause ?? {})}`);
      if (version !== undefined && rollout.release !== undefined) versions.set(`${component}/${String(rollout.release)}`, version);
      // A release that many others came after is forgotten, and with it which one it was.
      const known = rollout.release !== undefined || (await isRelease(berth, stack, component, ofRelease));
      if (known && ofRelease !== undefined && rollout.phase === "succeeded" && rollout.release !== ofRelease)
        found.push(`${stack}/${component}: rolled back to release ${String(rollout.release)} instead of ${String(ofRelease)}`);
    }
  }
  const { release } = await berth.client.showComponent({ params: { stack, component: "web" } });
  const last = ledger.rollouts.filter(({ component }) => component === "web").at(-1);
  const wanted = last?.version ?? versions.get(`web/${String(release?.number ?? 0)}`);
  if (!ledger.stopped) {
    const { status, body } = await berth.get(`web.${stack}.localhost`, "/echo?id=x");
    const [, version] = body.split("\n");
    if (status !== 200 || (wanted !== undefined && version !== wanted))
      found.push(`${stack}: answers ${String(status)} ${String(version)}, ordered last was ${String(wanted)}`);
  }
  return [...found, ...(await tasksOf(berth, ledger))];
}

/** undefined when there is none. */
async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_found") return undefined;
    throw error;
  }
}

async function isRelease(berth: TestBerth, stack: string, component: string, release: number | undefined): Promise<boolean> {
  return release !== undefined && (await ifThere(berth.client.showRelease({ params: { stack, component, release } }))) !== undefined;
}

async function tasksOf(berth: TestBerth, ledger: Ledger): Promise<string[]> {
  const { stack } = ledger;
  if (ledger.tasks.length === 0) return [];
  const marks = volumeFile(berth.home, stack, "ran", await stackId(berth.home, stack));
  const ends = volumeFile(berth.home, stack, "ended", await stackId(berth.home, stack));
  const found: string[] = [];
  for (const { number, mark, forgotten } of ledger.tasks) {
    const ran = marks.filter((line) => line === mark).length;
    const ended = ends.filter((line) => line === mark).length;
    if (ran > 1) found.push(`${stack}: task ${String(number)} ran ${String(ran)} times`);
    if (forgotten) continue;
    const { phase, cause } = await berth.client.showTask({ params: { stack, task: number } });
    if (phase === "succeeded" ? ended !== 1 : phase !== "failed" || cause?.code !== "run_lost" || ended !== 0)
      found.push(
        `${stack}: task ${String(number)} ${phase} ${JSON.stringify(cause ?? {})}, began ${String(ran)} times, ended ${String(ended)} times`,
      );
  }
  return found;
}

/** No release command ran twice, and each that is said to have succeeded ran. */
export async function releasesRanOnce(berth: TestBerth, rung: ReadonlyMap<string, number>): Promise<string[]> {
  const twice = [...rung].filter(([, count]) => count > 1).map(([run, count]) => `release command ${run} ran ${String(count)} times`);
  const tasks = await withDatabase(berth.home, async (db) =>
    (
      await db.query<{ id: string; stack: string; number: number; phase: string }>(
        "select t.id, s.name as stack, t.number, t.phase from tasks t join stacks s on s.id = t.stack_id where t.trigger = 'release'",
      )
    ).rows.map(({ id, stack, number, phase }) => ({ name: `${stack}: release command ${String(number)}`, phase, ran: rung.has(id) })),
  );
  return [
    ...twice,
    ...tasks.filter(({ phase, ran }) => phase === "succeeded" && !ran).map(({ name }) => `${name} succeeded and did not run`),
    ...(tasks.length === 0 ? ["no release command was ordered"] : []),
  ];
}

function volumeFile(home: string, stack: string, file: string, id: string | undefined): string[] {
  if (id === undefined) throw new Error(`${stack} is not in the database`);
  const path = join(home, "stacks", id, "volumes", "data", file);
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
}

async function stackId(home: string, stack: string): Promise<string | undefined> {
  return withDatabase(home, async (db) => (await db.query<{ id: string }>("select id from stacks where name = $1", [stack])).rows[0]?.id);
}

/** No process, port, folder, volume or row that nothing accounts for. Waits a little: the last lines of what ended are read before its folder goes. */
export async function nothingLeft(berth: TestBerth, apiPort: number, serverPid: number): Promise<string[]> {
  let found: string[] = ["not looked yet"];
  await until(
    async () => {
      // A file that goes while it is read is one more thing that was on its way.
      found = await leftovers(berth, apiPort, serverPid).catch((error: unknown) => [String(error)]);
      return found.length === 0 || undefined;
    },
    "nothing to be left over",
    120_000,
  ).catch(() => undefined);
  return found;
}

async function leftovers(berth: TestBerth, apiPort: number, serverPid: number): Promise<string[]> {
  const { home } = berth;
  const found: string[] = [];
  const { stacks, components, volumes, due } = await withDatabase(home, async (db) => ({
    stacks: (await db.query<{ id: string; name: string }>("select id, name from stacks")).rows,
    components: (
      await db.query<{ id: string; stack: string; name: string }>(
        "select c.id, s.name as stack, c.name from components c join stacks s on s.id = c.stack_id",
      )
    ).rows,
    volumes: (await db.query<{ stack_id: string; name: string }>("select stack_id, name from volumes")).rows,
    due: (
      await db.query<{ kind: string; key: string; held: boolean }>(
        "select kind, key, lease_holder is not null as held from due d where (kind = 'component' and not exists (select from components where id::text = d.key)) or (kind = 'stack' and not exists (select from stacks where id::text = d.key)) or (kind = 'volume' and not exists (select from volumes where id::text = d.key)) or (kind = 'task' and not exists (select from tasks where id::text = d.key)) or (kind = 'build' and not exists (select from builds where id::text = d.key))",
      )
    ).rows,
  }));
  for (const { kind, key } of due) found.push(`a due row of a ${kind} that is gone: ${key}`);
  const wanted = new Set<string>();
  const ports = new Set([apiPort, berth.router.port]);
  for (const { stack, name } of components) {
    const { items } = await berth.client.listInstances({ params: { stack, component: name } });
    for (const { id, address } of items) {
      wanted.add(id);
      if (address !== undefined) ports.add(Number(address.split(":").at(-1)));
    }
    const { internal } = await berth.client.showComponent({ params: { stack, component: name } });
    for (const address of Object.values(internal)) ports.add(Number(address.split(":").at(-1)));
  }
  const running = runningInstances(home);
  for (const { id, stack, component } of running)
    if (!wanted.has(id)) found.push(`${stack}/${component} ${id} runs, and the database does not know`);
  for (const id of wanted) if (!running.some((one) => one.id === id)) found.push(`the database has instance ${id}, and it does not run`);
  for (const id of namesIn(join(home, "edge", "instances"))) if (!wanted.has(id)) found.push(`folder of instance ${id}`);
  found.push(...(await strangers(home, serverPid, wanted)), ...foldersOf(home, stacks, volumes), ...entriesOf(home, components));
  for (const [port, pid] of listeningPorts(processesOf(home).map((one) => one.pid)))
    if (!ports.has(port) && !isOwnPort(home, pid)) found.push(`process ${String(pid)} listens on port ${String(port)}, which nothing has`);
  return found;
}

/** A program of a component without a port listens where it likes. */
function isOwnPort(home: string, pid: number): boolean {
  const parent = processesOf(home).find((one) => one.pid === pid)?.parent;
  return runningInstances(home).some((one) => [pid, parent].includes(one.pid) && one.component === "store");
}

async function strangers(home: string, serverPid: number, instances: ReadonlySet<string>): Promise<string[]> {
  const edge = await edgePids(home);
  const database = postmasterPid(home);
  const known = new Set([serverPid, edge?.primary, edge?.agent, edge?.collector, database, ...(edge?.workers ?? [])]);
  const programs = new Map(runningInstances(home).map((one) => [one.pid, one.id]));
  const all = processesOf(home);
  const parents = new Map(all.map((one) => [one.pid, one.parent]));
  const isKnown = (one: Process): boolean => {
    if (known.has(one.pid) || (database !== undefined && one.parent === database)) return true;
    if (one.instance !== undefined) return instances.has(one.instance);
    // The first process of a sandbox, and what leads to it or to a program: bubblewrap and the shim.
    return [...programs].some(
      ([pid, id]) => [pid, parents.get(pid), parents.get(parents.get(pid) ?? 0)].includes(one.pid) && instances.has(id),
    );
  };
  return all.filter((one) => !isKnown(one)).map(described);
}

function foldersOf(
  home: string,
  stacks: readonly { readonly id: string; readonly name: string }[],
  volumes: readonly { readonly stack_id: string; readonly name: string }[],
): string[] {
  const found: string[] = [];
  for (const id of namesIn(join(home, "stacks"))) {
    if (!stacks.some((stack) => stack.id === id))
      found.push(`folder of stack ${id}, which is gone: ${namesIn(join(home, "stacks", id)).join(" ")}`);
    for (const name of namesIn(join(home, "stacks", id, "volumes")))
      if (!volumes.some((volume) => volume.stack_id === id && volume.name === name)) found.push(`volume ${id}/${name} on disk alone`);
  }
  for (const id of namesIn(join(home, "caches")))
    if (!stacks.some((stack) => stack.id === id)) found.push(`build caches of stack ${id}, which is gone`);
  for (const name of namesIn(join(home, "logs")))
    if (/^(free|busy)/.test(name) && !stacks.some((stack) => stack.name === name)) found.push(`logs of stack ${name}, which is gone`);
  for (const folder of ["builds", "tmp"]) for (const name of namesIn(join(home, folder))) found.push(`${folder}/${name}`);
  return found;
}

function entriesOf(home: string, components: readonly { readonly stack: string; readonly name: string }[]): string[] {
  const folder = join(home, "edge", "entries");
  return namesIn(folder).flatMap((file) => {
    if (/\.(tmp|new)$/.test(file)) return [`draft ${file}`];
    if (!file.endsWith(".json")) return [];
    const { ref, entry } = JSON.parse(readFileSync(join(folder, file), "utf8")) as {
      ref: { stack: string; component: string };
      entry: object | null;
    };
    return entry !== null && !components.some((one) => one.stack === ref.stack && one.name === ref.component)
      ? [`the router has ${ref.stack}/${ref.component}, which is gone`]
      : [];
  });
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** No program of Berth ended by an error that nobody caught: whoever starts it again hides that. */
export function nothingUncaught(home: string): string[] {
  return namesIn(join(home, "logs")).flatMap((name) => {
    if (!name.endsWith(".log")) return [];
    const lines = readFileSync(join(home, "logs", name), "utf8").split("\n");
    // What Node.js says last.
    return lines.flatMap((line, at) =>
      /^Node\.js v\d/.test(line)
        ? [
            `an error that nobody caught, in ${name}:\n${lines
              .slice(Math.max(0, at - 25), at)
              .filter((one) => !one.startsWith("{"))
              .join("\n")}`,
          ]
        : [],
    );
  });
}

/** After everything was stopped: no process is left at all. What was killed is there until the machine comes to it. */
export async function processesLeft(home: string): Promise<string[]> {
  let found: string[] = [];
  await until(() => Promise.resolve((found = processesOf(home).map(described)).length === 0 || undefined), "no process", 30_000).catch(
    () => undefined,
  );
  return found;
}

const described = ({ pid, command }: Process): string => `process ${String(pid)} ${command.slice(0, 120)}`;

async function withDatabase<T>(home: string, ask: (db: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    host: join(home, "run", "postgres"),
    user: "berth",
    database: "berth",
    password: readFileSync(join(home, "postgres", "password"), "utf8").trim(),
  });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await ask(client);
  } finally {
    await client.end();
  }
}
