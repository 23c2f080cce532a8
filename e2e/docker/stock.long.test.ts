// A compose.yaml of the kind people have comes up as it stands: web, worker, PostgreSQL, Redis, named volumes, health checks. The two images are made here from
// Debian packages, with entry points that do what those of the official ones do: they start as root, give their volume to their user, and become that user.
import { createReadStream } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { debianTar } from "../../packages/server/src/builders/testing/debian.ts";
import { archive, type Files, type TestBerth } from "../harness.ts";
import { DockerPlace, missing, until } from "./place.ts";

const path = "/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const stores = "berth-test/stores:1";

const postgres: Files = {
  Dockerfile: `FROM ${stores}
ENV PATH=${path} PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
COPY entry.sh /entry.sh
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/bash", "/entry.sh"]
CMD ["postgres"]`,
  "entry.sh": `set -euo pipefail
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql && chown -R postgres "$PGDATA" /run/postgresql && chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups bash "$0" "$@"
fi
if ! [ -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 --auth-local=trust
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses=''" start
  createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -w -m fast stop
fi
exec "$@" -c listen_addresses='*'
`,
};
const redis: Files = {
  Dockerfile: `FROM ${stores}
COPY entry.sh /entry.sh
VOLUME /data
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["/bin/sh", "/entry.sh"]
CMD ["redis-server"]`,
  "entry.sh": `if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown -R redis . && exec setpriv --reuid=redis --regid=redis --init-groups "$@" --protected-mode no
fi
exec "$@"
`,
};

/** Counts in Redis, asks PostgreSQL whether it is there, and hands jobs to the worker. */
const app: Files = {
  "package.json": JSON.stringify({ name: "app", engines: { node: "18" } }),
  "talk.js": `const net = require("net");
const talk = (url, line) => new Promise((resolve, reject) => {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname, () => socket.write(line));
  socket.once("data", (data) => { socket.destroy(); resolve(data.toString("latin1").trim()); }).once("error", reject);
});
exports.redis = (line) => talk(process.env.REDIS_URL, line + "\\r\\n");
exports.postgres = () => talk(process.env.DATABASE_URL, Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));`,
  "server.js": `const { redis, postgres } = require("./talk.js");
require("http").createServer(async (request, answer) => {
  try {
    if (request.url === "/job") await redis("LPUSH jobs one");
    answer.end(JSON.stringify({ hits: await redis("INCR hits"), done: await redis("GET done"), postgres: await postgres() }));
  } catch (error) { answer.statusCode = 500; answer.end(String(error)); }
}).listen(3000);
process.on("SIGTERM", () => process.exit(0));`,
  "worker.js": `const { redis } = require("./talk.js");
setInterval(() => redis("RPOP jobs").then((job) => job.startsWith("$-1") ? undefined : redis("INCR done")).catch(console.error), 200);
process.on("SIGTERM", () => process.exit(0));`,
};
const compose: Files = {
  "compose.yaml": `services:
  web:
    build: .
    command: node server.js
    ports:
      - "3000"
    environment: &env
      DATABASE_URL: postgres://app:\${DB_PASSWORD:-changeme}@db:5432/app
      REDIS_URL: redis://cache:6379
    depends_on:
      db:
        condition: service_healthy
      cache:
        condition: service_started
  worker:
    build: .
    command: ["node", "worker.js"]
    environment: *env
    depends_on: [db, cache]
    restart: unless-stopped
  db:
    image: postgres:15
    restart: unless-stopped
    environment:
      POSTGRES_USER: app
      POSTGRES_PASSWORD: \${DB_PASSWORD:-changeme}
      POSTGRES_DB: app
    volumes:
      - dbdata:/var/lib/postgresql/data
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U app -d app"]
      interval: 2s
      timeout: 5s
      retries: 10
  cache:
    image: redis:7-alpine
    command: redis-server --save 60 1
    volumes:
      - cachedata:/data
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 2s
volumes:
  dbdata:
  cachedata:
`,
};

describe.skipIf(missing !== undefined)(`a compose.yaml of the kind people have${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: DockerPlace;
  let berth: TestBerth;
  beforeAll(async () => {
    place = await DockerPlace.open();
    ({ berth } = place);
    const { api } = place;
    const tar = await debianTar(["postgresql-15", "redis-server"]);
    await importImage(api, createReadStream(tar), { reference: stores, env: { PATH: path } });
    for (const [name, files] of [["postgres:15", postgres] as const, ["redis:7-alpine", redis] as const]) {
      const answer = await api.stream("POST", "/build", { query: { t: name }, body: await archive(files), timeout: Infinity });
      for await (const chunk of answer) if (String(chunk).includes("errorDetail")) throw new Error(String(chunk));
    }
  }, 900_000);
  afterAll(() => place?.[Symbol.asyncDispose](), 300_000);

  interface Answer {
    readonly hits: string;
    readonly done: string;
    readonly postgres: string;
  }
  const ask = async (path = "/"): Promise<Answer> => {
    const { status, body } = await berth.get("web.stock.localhost", path);
    expect(status, body).toBe(200);
    return JSON.parse(body) as Answer;
  };

  test("comes up unchanged, and its parts work together", async () => {
    const rollouts = await berth.deployed("stock", { ...compose, ...app }, { ".": { ...compose, ...app } });
    expect(rollouts.map(({ component, phase }) => `${component} ${phase}`).toSorted()).toEqual([
      "cache succeeded",
      "db succeeded",
      "web succeeded",
      "worker succeeded",
    ]);
    // Berth's own look at the new release was counted, too.
    expect(await ask()).toMatchObject({ hits: expect.stringMatching(/^:[1-9]/) as string, postgres: "N" });
    await ask("/job");
    await until(async () => ((await ask()).done.endsWith("1") ? true : undefined), "the worker's work");
  });

  test("what its stores keep outlives them", async () => {
    const psql = async (sql: string): Promise<string> => {
      const { code, said } = await berth.cli(["exec", "-s", "stock", "-c", "db", "--", "psql", "-U", "app", "-d", "app", "-Atc", sql]);
      expect(code, said).toBe(0);
      return said.trim();
    };
    await psql("create table kept (value text); insert into kept values ('this')");
    const before = Number((await ask()).hits.slice(1));
    for (const component of ["db", "cache"]) {
      const restarted = await berth.client.restartComponent({ params: { stack: "stock", component } });
      expect(await berth.ended("stock", component, restarted.rollout ?? 0)).toMatchObject({ phase: "succeeded" });
    }
    expect(await psql("select value from kept")).toBe("this");
    expect(Number((await ask()).hits.slice(1))).toBeGreaterThan(before);
  });
});
