// What is kept below the home folder goes with its owner: after a stack was removed, no file is left that knows of it but those that have a reason to (listed here).
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestBerth, until, webApp, type Files } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
});
afterAll(async () => {
  await berth?.stop();
});

/** Files and folders that may still know of a stack that was removed, by their path below the home, and why. */
const allowed: readonly { readonly path: RegExp; readonly why: string }[] = [
  { path: /^postgres(\/|$)/, why: "the database: events and the audit log tell what happened, by their own retention" },
  { path: /^blobs\//, why: "content by its digest, which a later upload may need: removed some hours after its last row" },
  { path: /^logs\/(server|edge)\.log$|^logs\/edge\/access\.log/, why: "Berth's own logs, bounded by rotation" },
  {
    path: /^edge\/(entries|fences)\/[a-z0-9.-]+\.json$/,
    why: "the number of the last order: a late one must not bring back what was removed",
  },
  { path: /^edge\/task-records\//, why: "a task's id: whoever finds it never starts the task again, for ever" },
  { path: /^build-users\.json$/, why: "a uid that was given to a stack's builds is never given to another" },
];

/** Everything below the home whose path, or whose content, names one of these. */
function knowing(needles: readonly string[], folder = berth.home, below = ""): string[] {
  const names = ifThere(() => readdirSync(folder)) ?? [];
  return names.flatMap((name) => {
    const path = join(folder, name);
    const shown = below === "" ? name : `${below}/${name}`;
    if (allowed.some((one) => one.path.test(shown))) return [];
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return [];
    if (stat.isDirectory()) return needles.some((needle) => name.includes(needle)) ? [shown] : knowing(needles, path, shown);
    const content = stat.isFile() && stat.size < 4_000_000 ? ifThere(() => readFileSync(path)) : undefined;
    const known = needles.some((needle) => name.includes(needle) || content?.includes(needle) === true);
    return known ? [shown] : [];
  });
}

/** Of files that others write and rename meanwhile: what is gone knows nothing. */
function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const stack = "vanishing";
const app: Files = {
  ...webApp("v1"),
  "worker.js": "console.log('at work'); setInterval(() => {}, 1000)",
  "compose.yaml": JSON.stringify({
    services: {
      web: { build: ".", command: "node server.js", ports: ["3000"], volumes: ["data:/data"] },
      worker: { build: ".", command: "node worker.js" },
      nightly: { build: ".", command: "node worker.js", "x-berth": { kind: "cron", schedule: "0 3 1 1 *" } },
    },
    volumes: { data: {} },
  }),
};

async function everything(): Promise<string[]> {
  const params = { stack };
  const [{ items: stacks }, { items: builds }, { items: components }, { items: tasks }] = await Promise.all([
    berth.client.listStacks(),
    berth.client.listBuilds({ params }),
    berth.client.listComponents({ params }),
    berth.client.listTasks({ params }),
  ]);
  const instances = (
    await Promise.all(components.map((component) => berth.client.listInstances({ params: { stack, component: component.name } })))
  ).flatMap((list) => list.items.map(({ id }) => id));
  const ids = readdirSync(join(berth.home, "stacks"));
  expect([stacks.length, builds.length, components.length, tasks.length, instances.length >= 2, ids.length]).toEqual([1, 1, 3, 1, true, 1]);
  return [stack, ...instances, ...ids];
}

test("a stack that was removed leaves nothing behind in the home folder; one whose volume is kept leaves only that", async () => {
  await berth.deployed(stack, app);
  const task = await berth.client.createTask({ params: { stack, component: "web" }, body: { command: { shell: "echo ran once" } } });
  await until(
    async () => ((await berth.client.showTask({ params: { stack, task: task.number } })).endedAt === undefined ? undefined : true),
    "the task's end",
    60_000,
    () => berth.log(),
  );
  const needles = await everything();
  const [id = ""] = needles.slice(-1);
  // As a build with a package manager leaves it.
  mkdirSync(join(berth.home, "caches", id, "tools", "npm", "_cacache"), { recursive: true });
  // The test can fail: all of this is there while the stack is. What a program has written is in its log a moment later.
  for (const folder of ["caches", "edge/instances", "stacks", `logs/${stack}`])
    await until(
      () => Promise.resolve(knowing(needles).some((path) => path.startsWith(folder)) || undefined),
      `something of it below ${folder}`,
      60_000,
    );
  await until(() => Promise.resolve(existsSync(join(berth.home, "logs", stack, "worker")) || undefined), "the worker's log", 60_000);

  await berth.client.deleteComponent({ params: { stack, component: "worker" } });
  await until(
    async () => ((await berth.client.listComponents({ params: { stack } })).items.length === 2 ? true : undefined),
    "the removal of the worker",
    120_000,
    () => berth.log(),
  );
  expect(readdirSync(join(berth.home, "logs", stack)).sort()).toEqual(["web"]);

  await berth.client.deleteStack({ params: { stack } });
  await until(
    async () => ((await berth.client.listStacks()).items.length === 0 ? true : undefined),
    "the removal of the stack",
    120_000,
    () => berth.log(),
  );
  // The edge gathers what it writes of readiness for half a second.
  await until(
    () => Promise.resolve(knowing(needles).includes("edge/readiness.json") ? undefined : true),
    "the edge to write down who is ready",
    60_000,
  );
  expect(knowing(needles).filter((path) => path !== "edge/uids.json")).toEqual([`stacks/${id}`]);
  // The volume, and the note that there was one: should its folder be gone one day, that is said instead of an empty one made.
  expect(readdirSync(join(berth.home, "stacks", id))).toEqual(["volumes", "volumes.made"]);

  await berth.client.deleteVolume({ params: { stack, volume: "data" } });
  await until(
    async () => ((await berth.client.listAllVolumes()).items.length === 0 ? true : undefined),
    "the removal of the volume",
    60_000,
    () => berth.log(),
  );
  expect(knowing(needles)).toEqual([]);
  expect(readdirSync(join(berth.home, "stacks"))).toEqual([]);
}, 600_000);

test("a stack is removed in the middle of its build, with its volumes", async () => {
  const slow: Files = {
    "package.json": JSON.stringify({ name: "web", scripts: { build: "echo building; sleep 600", start: "node server.js" } }),
    "server.js": "",
  };
  await berth.up(stack, slow);
  await until(
    async () =>
      (await berth.client.listBuilds({ params: { stack } })).items.some(({ steps }) =>
        steps.some((step) => step.name === "build" && step.state === "started"),
      )
        ? true
        : undefined,
    "the build's long step",
    60_000,
    () => berth.log(),
  );
  const folders = (): string[] => readdirSync(join(berth.home, "builds"));
  const ids = await until(() => Promise.resolve(folders().length === 1 ? folders() : undefined), "the folder of this build alone", 60_000);
  await berth.client.deleteStack({ params: { stack }, query: { volumes: true } });
  await until(
    async () => ((await berth.client.listStacks()).items.length === 0 ? true : undefined),
    "the removal of the stack",
    120_000,
    () => berth.log(),
  );
  expect(knowing([stack, ...ids])).toEqual([]);
}, 400_000);
