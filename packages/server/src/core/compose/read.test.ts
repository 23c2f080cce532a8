import { describe, expect, test } from "vitest";
import { definitionOf, line, noteCodes, notesOf, problemsOf, readProject, service, specOf, yaml, type Project } from "./project.testkit.ts";

const local = (project: Project): Project => ({ ...project, engine: "local" });
const withFiles = (project: Project, files: Record<string, string>, shell: Record<string, string> = {}): Project => ({
  ...project,
  files: { ...project.files, ...files },
  shell,
});
const messages = (project: Project) => problemsOf(project).map(line).join("\n");

describe("a component from a service", () => {
  test.each<[string, string, object]>([
    [
      "defaults",
      "",
      {
        kind: "worker",
        build: { context: "." },
        replicas: 1,
        restart: "always",
        gracePeriod: 10_000,
        drainTimeout: 30_000,
        strategy: { type: "rolling" },
        securityProfile: "restricted",
        env: {},
        secrets: {},
        ports: [],
        volumes: [],
        probes: {},
        resources: {},
      },
    ],
    ["command as a line", "command: node 'my server.js'", { command: { exec: ["node", "my server.js"] } }],
    ["command as a list", "command: [node, server.js, 3000]", { command: { exec: ["node", "server.js", "3000"] } }],
    ["command that needs a shell", "command: migrate && serve -p $$PORT", { command: { shell: "migrate && serve -p $PORT" } }],
    ["command as a shell list", "command: [/bin/sh, -c, 'a; b']", { command: { shell: "a; b" } }],
    ["entrypoint", "entrypoint: /entry --x\ncommand: []", { entrypoint: { exec: ["/entry", "--x"] } }],
    [
      "environment as mapping",
      "environment: {A: 1, B: true, C: 1.10, D: '', E: 012}",
      { env: { A: "1", B: "true", C: "1.1", D: "", E: "12" } },
    ],
    ["environment as list", "environment: ['A=1', 'B=x=y', 'C=']", { env: { A: "1", B: "x=y", C: "" } }],
    ["working folder", "working_dir: ./sub/", { workdir: "sub" }],
    ["working folder in a container", "working_dir: /srv", { workdir: "/srv" }],
    ["replicas", "deploy: {replicas: 3}", { replicas: 3 }],
    ["replicas from a variable's default", "deploy: {replicas: '${N:-4}'}", { replicas: 4 }],
    ["scale", "scale: 0", { replicas: 0 }],
    [
      "limits",
      "deploy: {resources: {limits: {cpus: '1.5', memory: 1g, pids: 50}}}",
      { resources: { cpu: 1.5, memory: 1_073_741_824, processes: 50 } },
    ],
    [
      "limits in the older spelling",
      "mem_limit: 256m\ncpus: 2\npids_limit: 9",
      { resources: { cpu: 2, memory: 268_435_456, processes: 9 } },
    ],
    ["no limits", "mem_limit: 0\ncpus: 0\npids_limit: -1", { resources: {} }],
    ["restart: no", "restart: no", { restart: "never" }],
    ["restart: 'no'", "restart: 'no'", { restart: "never" }],
    ["restart: unless-stopped", "restart: unless-stopped", { restart: "always" }],
    ["restart: on-failure:3", "restart: on-failure:3", { restart: "on-failure" }],
    ["restart_policy wins over restart", "restart: always\ndeploy: {restart_policy: {condition: none}}", { restart: "never" }],
    ["grace period", "stop_grace_period: 1m30s", { gracePeriod: 90_000 }],
    [
      "update start-first",
      "deploy: {update_config: {parallelism: 2, order: start-first, delay: 5s}}",
      { strategy: { type: "rolling", maxSurge: 2, maxUnavailable: 0, minReady: 5000 } },
    ],
    [
      "update stop-first",
      "deploy: {update_config: {order: stop-first}}",
      { strategy: { type: "rolling", maxSurge: 0, maxUnavailable: 1 } },
    ],
    [
      "update all at once",
      "deploy: {update_config: {parallelism: 0}}",
      { strategy: { type: "rolling", maxSurge: 1000, maxUnavailable: 0 } },
    ],
    [
      "build in full",
      "build: {context: ./x/../y, dockerfile: D, target: t, args: [A=1, B=2]}",
      { build: { context: "y", dockerfile: "D", target: "t", args: { A: "1", B: "2" } }, securityProfile: "baseline" },
    ],
    [
      "secrets of a build",
      "build: {context: ., secrets: [db_password, {source: db_password, target: /run/secrets/npm.token}]}\nsecrets: {db_password: {external: true}}",
      { build: { context: ".", secrets: { db_password: "db-password", "npm.token": "db-password" } }, secrets: {} },
    ],
    ["build argument from nowhere is left out", "build: {context: ., args: [GONE]}", { build: { context: "." } }],
    [
      "x-berth in full",
      "x-berth:\n  kind: web\n  process: api\n  domains: [shop.test, 'Shop.Test/x', {host: b.test, path: /y}]\n  strategy: {type: rolling, maxSurge: 2, minReady: 10s, progressDeadline: 5m}\n  drainTimeout: 1m\n  gracePeriod: 20s\n  securityProfile: baseline\n  secrets: {TOKEN: api-token}\n  probes: {liveness: {check: {type: http, path: /live}, period: 30s, timeout: 2s, failureThreshold: '5'}}",
      {
        kind: "web",
        process: "api",
        domains: [{ host: "shop.test" }, { host: "shop.test", path: "/x" }, { host: "b.test", path: "/y" }],
        strategy: { type: "rolling", maxSurge: 2, minReady: 10_000, progressDeadline: 300_000 },
        drainTimeout: 60_000,
        gracePeriod: 20_000,
        securityProfile: "baseline",
        secrets: { TOKEN: "api-token" },
        probes: { liveness: { check: { type: "http", path: "/live" }, period: 30_000, timeout: 2000, failureThreshold: 5 } },
        ports: [{ name: "http", protocol: "http" }],
      },
    ],
    ["a schedule", "x-berth: {schedule: '30 3 * * *'}", { kind: "cron", schedule: { cron: "30 3 * * *" }, restart: "never", ports: [] }],
    [
      "a schedule in full",
      "x-berth: {schedule: {cron: '0 * * * MON-FRI', timeZone: Europe/Berlin, overlap: replace, deadline: 10m, startingDeadline: 90s}}",
      { schedule: { cron: "0 * * * MON-FRI", timeZone: "Europe/Berlin", overlap: "replace", deadline: 600_000, startingDeadline: 90_000 } },
    ],
  ])("%s", (_, lines, expected) => {
    const [build = "", ...top] = lines.split("\n");
    const text = lines.startsWith("build:") ? yaml(`services:\n  a:\n    ${build}\n${top.join("\n")}\n`) : service(lines);
    expect(specOf(text)).toMatchObject(expected);
  });

  test("an image, where there are containers", () =>
    expect(specOf(yaml("services: {a: {image: 'nginx:1.29', ports: ['80']}}"))).toMatchObject({
      kind: "web",
      image: "nginx:1.29",
      securityProfile: "baseline",
    }));
  test("an image beside build is only a name", () => {
    const project = service("image: me/app:1");
    expect(specOf(project).image).toBeUndefined();
    expect(noteCodes(project)).toEqual(["compose_image_name"]);
  });
});

describe("the local engine", () => {
  test("refuses an image and says what to do instead", () =>
    expect(problemsOf(local(yaml("services:\n  db:\n    image: postgres:17\n"))).map(line)).toEqual([
      "compose.yaml:3:12 compose_refused db image: the local engine runs what Berth builds, not images such as postgres:17 (Give it `build:` with its source instead, run the database apart and pass its address in `environment`, or deploy to a Docker or Kubernetes cluster.)",
    ]));
  test("starts in the build's root when the folder is a container's", () => {
    expect(specOf(local(service("working_dir: /app"))).workdir).toBeUndefined();
    expect(noteCodes(local(service("working_dir: /app")))).toEqual(["compose_workdir_absolute"]);
  });
});

describe("kinds", () => {
  test.each<[string, string, string]>([
    ["x-berth wins", "build: .\nports: ['80']\nx-berth: {kind: worker}", "worker"],
    ["a schedule", "build: .\nports: ['80']\nx-berth: {schedule: '0 0 * * *'}", "cron"],
    ["domains", "build: .\nx-berth: {domains: [a.test]}", "web"],
    ["process web", "build: .\nx-berth: {process: web}", "web"],
    ["a database's image", "image: registry.test:5000/library/postgres:17-alpine@sha256:abc", "stateful"],
    ["a cache's image with a port", "image: redis\nports: ['6379:6379']", "stateful"],
    ["an unknown image", "image: acme/thing", "worker"],
    ["published port", "build: .\nports: ['8080:3000']", "web"],
    ["only exposed", "build: .\nexpose: [3000]", "worker"],
    ["TCP and a volume", "build: .\nports: ['5432:5432']\nvolumes: ['data:/d']", "stateful"],
    ["TCP without a volume", "build: .\nports: ['1883:1883']", "web"],
    ["HTTP and a volume", "build: .\nports: ['8080:80']\nvolumes: ['data:/d']", "web"],
    ["a command alone", "build: .\ncommand: node worker.js", "worker"],
  ])("%s", (_, lines, kind) =>
    expect(
      specOf(
        yaml(
          `services:\n  a:\n${lines
            .split("\n")
            .map((part) => `    ${part}`)
            .join("\n")}\nvolumes: {data: }\n`,
        ),
      ).kind,
    ).toBe(kind),
  );
  test("one that is called web and only built", () => {
    expect(specOf(yaml("services: {web: {build: .}}"), "web").kind).toBe("web");
    expect(specOf(yaml("services: {web: {build: ., command: x}}"), "web").kind).toBe("worker");
  });
  test("a stateful one is replaced by recreate", () =>
    expect(specOf(service("x-berth: {kind: stateful}")).strategy).toEqual({ type: "recreate" }));
  test("a database's port is known without being said", () =>
    expect(specOf(yaml("services: {a: {image: 'postgres:17'}}")).ports).toEqual([{ name: "tcp", protocol: "tcp", port: 5432 }]));
});

describe("ports", () => {
  const http = (port: number, name = "http") => ({ name, protocol: "http", port });
  const tcp = (port: number, published?: number, name = "tcp") => ({
    name,
    protocol: "tcp",
    port,
    ...(published === undefined ? {} : { published }),
  });
  test.each<[string, unknown[], string[]]>([
    ["ports: ['8080:3000']", [http(3000)], ["compose_port_routed"]],
    ["ports: [3000]", [http(3000)], []],
    ["ports: ['3000']", [http(3000)], []],
    ["ports: ['127.0.0.1:8080:3000']", [http(3000)], ["compose_port_routed"]],
    ["ports: ['[::1]:8080:3000']", [http(3000)], ["compose_port_routed"]],
    ["ports: ['3000-3002']", [http(3000), http(3001, "http-3001"), http(3002, "http-3002")], []],
    ["ports: ['9000-9001:3000-3001/tcp']", [tcp(3000, 9000), tcp(3001, 9001, "tcp-3001")], []],
    ["ports: ['8000-8005:3000']", [http(3000)], ["compose_port_routed"]],
    ["ports: ['2222:22']", [tcp(22, 2222)], []],
    ["ports: ['5432:5432']", [tcp(5432, 5432)], []],
    ["ports: ['127.0.0.1:5432:5432']", [tcp(5432)], ["compose_port_internal"]],
    ["ports: ['5432']", [tcp(5432)], ["compose_port_internal"]],
    ["ports: ['7000:7000/tcp']", [tcp(7000, 7000)], []],
    ["ports: ['7000:7000']\nx-berth: {ports: {7000: tcp}}", [tcp(7000, 7000)], []],
    ["ports: ['6379:6379']\nx-berth: {ports: {6379: http}}", [http(6379)], ["compose_port_routed"]],
    ["ports: [{target: 3000, published: '8080', protocol: tcp, mode: host}]", [http(3000)], ["compose_port_routed"]],
    ["ports: [{target: 3000, published: 8080, app_protocol: tcp, name: game}]", [tcp(3000, 8080, "game")], []],
    ["ports: [{target: 5432, app_protocol: http}]", [http(5432)], []],
    ["ports: [{target: 50051, app_protocol: grpc}]", [{ ...http(50051), appProtocol: "grpc" }], []],
    ["ports: [{target: 80, app_protocol: h2c}]", [{ ...http(80), appProtocol: "h2c" }], []],
    ["ports: [{target: 80, app_protocol: kubernetes.io/h2c}]", [{ ...http(80), appProtocol: "h2c" }], []],
    ["ports: [{target: 80, app_protocol: http2}]", [{ ...http(80), appProtocol: "h2c" }], []],
    [
      "ports: [{target: 80, app_protocol: GRPC}, {target: 443, app_protocol: https}]",
      [{ ...http(80), appProtocol: "grpc" }, tcp(443)],
      ["compose_port_internal"],
    ],
    ["ports: [{target: 80, app_protocol: grpc}]\nx-berth: {ports: {80: tcp}}", [tcp(80)], ["compose_port_internal"]],
    [
      "x-berth: {ports: [{name: api, protocol: http, appProtocol: h2c, port: 9}]}",
      [{ name: "api", protocol: "http", appProtocol: "h2c", port: 9 }],
      [],
    ],
    ["ports: ['80', '443:443/tcp']", [http(80), tcp(443, 443)], []],
    ["expose: ['3000', 4000/tcp]\nx-berth: {kind: worker}", [http(3000), tcp(4000)], []],
    ["ports: ['8080:3000']\nexpose: [3000, 4000]", [http(3000), http(4000, "http-4000")], ["compose_port_routed"]],
    ["ports: ['8080:3000']\nx-berth: {kind: worker}", [http(3000)], ["compose_port_internal"]],
    ["ports: ['1:1']\nx-berth: {ports: [{name: api, protocol: http, port: 9}]}", [{ name: "api", protocol: "http", port: 9 }], []],
    ["ports: ['80']\nx-berth: {schedule: '* * * * *'}", [], ["compose_key_ignored"]],
    ["healthcheck: {test: 'curl -f http://localhost:8000/ok'}", [http(8000)], []],
    ["x-berth: {kind: web}\nenvironment: {PORT: 4000}", [http(4000)], ["compose_port_variable"]],
  ])("%s", (lines, ports, notes) => {
    expect(specOf(service(lines)).ports).toEqual(ports);
    expect(noteCodes(service(lines))).toEqual(notes);
  });
  test("PORT is the engine's to set, but only where there is a port", () => {
    expect(specOf(service("ports: ['80']\nenvironment: {PORT: 80, X: 1}")).env).toEqual({ X: "1" });
    expect(specOf(service("environment: {PORT: 80}")).env).toEqual({ PORT: "80" });
  });
  test.each([
    ["ports: ['x']", /`x` is not a port/],
    ["ports: ['1:2:3:4']", /is not a port/],
    ["ports: ['70000']", /is not a port/],
    ["ports: ['10-12:1-2']", /not of one length/],
    ["ports: ['53:53/udp']", /compose_refused .* not UDP/],
    ["ports: [{target: 53, protocol: udp}]", /compose_refused .* not UDP/],
    ["ports: [{published: 80}]", /no `target`/],
    ["ports: 80", /`ports` is a list/],
    ["ports: ['1-100']", /at most 32/],
    ["expose: [x]", /is not a port/],
    ["ports: [[1]]", /single value/],
  ])("%s is a problem", (lines, message) => expect(messages(service(lines))).toMatch(message));
});

describe("healthcheck", () => {
  const exec = (...words: string[]) => ({ type: "exec", command: { exec: words } });
  const shell = (text: string) => ({ type: "exec", command: { shell: text } });
  test.each<[string, unknown]>([
    ["[CMD, pg_isready, -U, app]", exec("pg_isready", "-U", "app")],
    ["[CMD-SHELL, 'check || exit 1']", shell("check || exit 1")],
    ["check it", shell("check it")],
    ["[CMD, curl, -f, 'http://localhost:3000/health?x=1']", { type: "http", path: "/health?x=1" }],
    ["curl -fsS http://127.0.0.1:3000 > /dev/null || exit 1", { type: "http", path: "/" }],
    ["curl --fail -s -o /dev/null --max-time 3 localhost:3000/a", { type: "http", path: "/a" }],
    ["curl -sf http://localhost:$$PORT/a", { type: "http", path: "/a" }],
    ["curl -f http://localhost:$${PORT:-3000}/a || exit 1", { type: "http", path: "/a" }],
    ["curl -f http://localhost:9000/a", { type: "http", path: "/a", port: 9000 }],
    ["curl -f http://localhost/a", { type: "http", path: "/a", port: 80 }],
    ["curl http://localhost:3000/a", { type: "tcp" }],
    ["wget --no-verbose --tries=1 --spider http://localhost:3000/a || exit 1", { type: "http", path: "/a" }],
    ["[CMD, wget, -qO-, 'http://0.0.0.0:3000/']", { type: "http", path: "/" }],
    ["/usr/bin/wget -q -O /dev/null http://localhost:3000/a", { type: "http", path: "/a" }],
    ["nc -z localhost 3000", { type: "tcp" }],
    ["nc -zv -w 1 127.0.0.1 4000", { type: "tcp", port: 4000 }],
    ["curl -f http://db:3000/", shell("curl -f http://db:3000/")],
    ["curl -f https://localhost:3000/", shell("curl -f https://localhost:3000/")],
    ["curl -f http://localhost:3000/ | grep ok", shell("curl -f http://localhost:3000/ | grep ok")],
    ["curl -f -H X:y http://localhost:3000/", shell("curl -f -H X:y http://localhost:3000/")],
    ["curl -f http://localhost:3000/$$HOST", shell("curl -f http://localhost:3000/$HOST")],
    ["curl -fX POST http://localhost:3000/", shell("curl -fX POST http://localhost:3000/")],
  ])("test: %s", (check, expected) =>
    expect(specOf(service(`ports: ['3000']\nhealthcheck:\n  test: ${check}`)).probes).toEqual({ readiness: { check: expected } }),
  );
  test.each<[string, object]>([
    ["interval: 2s, timeout: 1s, retries: 5", { readiness: { period: 2000, timeout: 1000, failureThreshold: 5 } }],
    [
      "interval: 30s, start_period: 60s, start_interval: 2s",
      { readiness: { period: 30_000 }, startup: { period: 2000, failureThreshold: 75 } },
    ],
    [
      "interval: 1m30s, retries: 3",
      { readiness: { period: 90_000, failureThreshold: 3 }, startup: { period: 5000, failureThreshold: 54 } },
    ],
    ["start_period: 10h, interval: 1s", { startup: { period: 36_003, failureThreshold: 1000 } }],
    ["interval: 1ms", { readiness: { period: 100 } }],
  ])("%s", (times, expected) => expect(specOf(service(`healthcheck: {test: [CMD, x], ${times}}`)).probes).toMatchObject(expected));
  test("none, and a disabled one", () => {
    expect(specOf(service("healthcheck: {test: [NONE]}")).probes).toEqual({});
    expect(specOf(service("healthcheck: {test: [CMD, x], disable: true}")).probes).toEqual({});
  });
  test("x-berth's probes win", () =>
    expect(specOf(service("healthcheck: {test: [CMD, x]}\nx-berth: {probes: {readiness: {check: {type: tcp}}}}")).probes).toEqual({
      readiness: { check: { type: "tcp" } },
    }));
  test.each([
    ["{test: [curl, x]}", /starts with `CMD`/],
    ["{test: [CMD]}", /followed by the program/],
    ["{test: x, interval: 10}", /not a duration/],
    ["{test: x, retries: many}", /whole number/],
    ["[x]", /is a mapping/],
  ])("%s is a problem", (check, message) => expect(messages(service(`healthcheck: ${check}`))).toMatch(message));
});

describe("variables of a component", () => {
  const files = { "one.env": "A=one\nB=one\nC=${A}-${SHELL}-${OWN}", "two.env": "B=two" };
  test("later files win over earlier, environment over all, and files may use what environment says", () => {
    expect(
      specOf(withFiles(service("env_file: [one.env, two.env]\nenvironment: {D: own, A: own, OWN: o}"), files, { SHELL: "s" })).env,
    ).toEqual({ A: "own", B: "two", C: "own-s-o", D: "own", OWN: "o" });
  });
  test("one without a value comes from the shell or .env, and is left out when it is nowhere", () =>
    expect(
      specOf(withFiles(service("environment: [FROM_SHELL, FROM_FILE, NOWHERE]"), { ".env": "FROM_FILE=f" }, { FROM_SHELL: "s" })).env,
    ).toEqual({ FROM_SHELL: "s", FROM_FILE: "f" }));
  test("long form, optional and raw", () =>
    expect(
      specOf(
        withFiles(service("env_file:\n- {path: gone.env, required: false}\n- {path: raw.env, format: raw}"), { "raw.env": "A='$x' # y" }),
      ).env,
    ).toEqual({ A: "'$x' # y" }));
  test.each<[string, Record<string, string>, RegExp]>([
    ["env_file: gone.env", {}, /compose.yaml:4:15 compose_invalid a env_file: there is no file gone.env/],
    ["env_file: ../x.env", {}, /compose_refused .* leads out/],
    ["env_file: /etc/x.env", {}, /compose_refused .* absolute/],
    ["env_file: one.env", { "one.env": "A=1\nB C=2" }, /^one.env:2:1 .* contains a space/],
    ["environment: {my.key: 1}", {}, /not the name of an environment variable \(Letters, digits and _ only: MY_KEY.\)/],
    ["environment: ['=x']", {}, /not the name/],
    ["environment: {A: [1]}", {}, /single value/],
    ["environment: {A: {b: 1}}", {}, /single value/],
    ["env_file: [{path: one.env, format: x}]", { "one.env": "" }, /not a format/],
    ["env_file: [{}]", {}, /names no file/],
  ])("%s is a problem", (lines, extra, message) => expect(messages(withFiles(service(lines), extra))).toMatch(message));
});

describe("secrets and configs", () => {
  const project = withFiles(
    yaml(
      "services:\n  a:\n    build: .\n    secrets: [db_password, {source: token, target: API_TOKEN}]\n    environment: {POSTGRES_PASSWORD_FILE: /run/secrets/db_password}\nsecrets:\n  db_password: {file: ./pw.txt}\n  token: {environment: TOKEN}\n  ext: {external: true, name: shared_key}\n",
    ),
    { "pw.txt": "s3cret\n" },
    { TOKEN: "t0k" },
  );
  test("a component gets the variable; the definition has no value in it", () => {
    const spec = specOf(project);
    expect(spec.secrets).toEqual({ POSTGRES_PASSWORD: "db-password", API_TOKEN: "token" });
    expect(spec.env).toEqual({});
    const result = readProject(project);
    expect(result.ok && result.secretValues).toEqual({ "db-password": "s3cret", token: "t0k" });
    expect(result.ok && result.definition.secrets).toEqual({
      "db-password": { source: { type: "file", path: "pw.txt" } },
      token: { source: { type: "environment", variable: "TOKEN" } },
      "shared-key": { source: { type: "external" } },
    });
    expect(JSON.stringify(result.ok && result.definition)).not.toMatch(/s3cret|t0k/);
  });
  test("a config is a variable with its text", () => {
    const configs = withFiles(
      yaml(
        "services: {a: {build: ., configs: [greeting, {source: two, target: SECOND}]}}\nconfigs: {greeting: {content: 'hi ${WHO}'}, two: {file: two.txt}}\n",
      ),
      { "two.txt": "text\n" },
      { WHO: "you" },
    );
    expect(specOf(configs).env).toEqual({ GREETING: "hi you", SECOND: "text\n" });
    expect(definitionOf(configs).configs).toEqual({ greeting: { content: "hi you" }, two: { content: "text\n" } });
  });
  test.each([
    ["services: {a: {build: ., secrets: [gone]}}", /there is no gone under `secrets`/],
    ["services: {a: {build: ., secrets: [kye]}}\nsecrets: {key: {external: true}}", /Did you mean key\?/],
    [
      "services: {a: {build: ., secrets: [{source: key, target: /etc/key.pem}]}}\nsecrets: {key: {external: true}}",
      /compose_refused a secrets.target/,
    ],
    ["services: {a: {build: .}}\nsecrets: {key: {}}", /nothing says where its value comes from/],
    ["services: {a: {build: .}}\nsecrets: {key: {file: gone}}", /there is no file gone/],
    ["services: {a: {build: .}}\nsecrets: {key: {file: /etc/shadow}}", /compose_refused secret key file: \/etc\/shadow: absolute/],
    ["services: {a: {build: .}}\nsecrets: {key: {environment: GONE}}", /the variable GONE is not set/],
    [
      "services: {a: {build: ., secrets: [key], environment: {KEY: x}}}\nsecrets: {key: {external: true}}",
      /KEY is set here and is also given by a secret/,
    ],
    ["services: {a: {build: .}}\nsecrets: {a_b: {external: true}, a-b: {external: true}}", /would both be called a-b/],
    ["services: {a: {build: .}}\nconfigs: {c: {}}", /nothing says where its text comes from/],
  ])("%s is a problem", (text, message) => expect(messages(yaml(text))).toMatch(message));
});

describe("volumes", () => {
  const mounts = (list: string) =>
    yaml(`services: {a: {build: ., volumes: ${list}}}\nvolumes: {data: , my_data: , old: {external: true, name: kept_data}}\n`);
  test.each<[string, unknown[]]>([
    ["['data:/d']", [{ volume: "data", path: "/d" }]],
    ["['data:/d/../e/:ro']", [{ volume: "data", path: "/e", readOnly: true }]],
    ["['data:/d:rw,nocopy']", [{ volume: "data", path: "/d" }]],
    ["['my_data:/d']", [{ volume: "my-data", path: "/d" }]],
    ["['old:/d']", [{ volume: "kept-data", path: "/d" }]],
    ["[{type: volume, source: data, target: /d, read_only: true}]", [{ volume: "data", path: "/d", readOnly: true }]],
    ["['/anonymous']", []],
    ["[{type: tmpfs, target: /t}]", []],
  ])("%s", (list, expected) => expect(specOf(mounts(list)).volumes).toEqual(expected));
  test("at the top", () =>
    expect(definitionOf(mounts("[]")).volumes).toEqual({
      data: { external: false },
      "my-data": { external: false },
      "kept-data": { external: true },
    }));
  test.each([
    ["['.:/app']", /compose_refused a volumes: \.: folders of the machine are not reachable \(The build takes/],
    ["['./x:/app']", /folders of the machine/],
    ["['/etc:/etc']", /folders of the machine/],
    ["['~/x:/y']", /folders of the machine/],
    ["['C:\\x:/y']", /folders of the machine/],
    ["['/var/run/docker.sock:/var/run/docker.sock']", /container engine's socket owns the machine/],
    ["[{type: bind, source: ./x, target: /y}]", /folders of the machine/],
    ["[{type: npipe, source: x, target: /y}]", /compose_refused/],
    ["['dtaa:/d']", /there is no volume dtaa .*Did you mean data\?/],
    ["['data:d']", /not an absolute path/],
    ["['data:/a:ro:x']", /is not a volume/],
    ["['data::ro']", /is not a volume/],
    ["[{type: volume, source: data}]", /has no `target`/],
    ["[{type: blob, target: /x}]", /not a type of mount/],
    ["[{source: data, target: /d, volume: {subpath: x}}]", /compose_refused a volumes.volume.subpath/],
  ])("%s is a problem", (list, message) => expect(messages(mounts(list))).toMatch(message));
});

describe("dependencies", () => {
  const many = (lines: string) => yaml(`services:\n  a: {build: ., ${lines}}\n  b: {build: .}\n  c: {build: .}\n`);
  test.each<[string, unknown[]]>([
    [
      "depends_on: [b, c]",
      [
        { component: "b", condition: "started" },
        { component: "c", condition: "started" },
      ],
    ],
    [
      "depends_on: {b: {condition: service_healthy}, c: {condition: service_completed_successfully, restart: true}}",
      [
        { component: "b", condition: "ready" },
        { component: "c", condition: "completed" },
      ],
    ],
    [
      "links: [b, 'c:sea']",
      [
        { component: "b", condition: "started" },
        { component: "c", condition: "started" },
      ],
    ],
    ["links: [b], depends_on: {b: {condition: service_healthy}}", [{ component: "b", condition: "ready" }]],
  ])("%s", (lines, expected) => expect(specOf(many(lines)).dependsOn).toEqual(expected));
  test("one on whose completion another waits is not started again", () =>
    expect(specOf(many("depends_on: {b: {condition: service_completed_successfully}}"), "b").restart).toBe("never"));
  test.each([
    ["depends_on: [d]", /there is no service d/],
    ["depends_on: [a]", /depends on itself/],
    ["depends_on: {b: {condition: healthy}}", /`healthy` is not a condition/],
    ["depends_on: b", /is a mapping/],
  ])("%s is a problem", (lines, message) => expect(messages(many(lines))).toMatch(message));
  test("a circle is named", () =>
    expect(
      messages(yaml("services:\n  a: {build: ., depends_on: [b]}\n  b: {build: ., depends_on: [c]}\n  c: {build: ., depends_on: [a]}\n")),
    ).toMatch(/in a circle: a -> b -> c -> a/));
});

describe("problems", () => {
  test("all of them at once, each with its place", () => {
    const result = problemsOf(
      yaml(
        "services:\n  web:\n    build: .\n    privileged: true\n    ports:\n      - nonsense\n    mem_limit: much\n  My_Api:\n    build: ../other\n    restart: sometimes\n  empty:\nnonsense: 1\n",
      ),
    );
    expect(result.map(({ code, params }) => `${params.line}:${params.column} ${code} ${params.component}`)).toEqual([
      "12:1 compose_invalid the stack",
      "4:5 compose_refused web",
      "6:9 compose_invalid web",
      "7:16 compose_invalid web",
      "8:3 compose_invalid My_Api",
      "9:12 compose_refused My_Api",
      "10:14 compose_invalid My_Api",
      "11:3 compose_invalid empty",
    ]);
  });
  test.each([
    ["services: {a: {}}", /neither `build` nor `image`/],
    ["services: {}", /it has no services/],
    ["services: [a]", /`services` is a mapping/],
    ["services: {a: text}", /`a` is a mapping/],
    ["services: {a_b: {build: .}}", /Call it `a-b`/],
    ["services: {a: {build: 'https://example.com/x.git'}}", /compose_refused .* not in the project's folder/],
    ["services: {a: {build: {context: ., dockerfile: ../D}}}", /compose_refused/],
    ["services: {a: {build: ., scale: 1, deploy: {replicas: 2}}}", /say different things/],
    ["services: {a: {build: ., deploy: {replicas: -1}}}", /lies between 0 and 1000/],
    ["services: {a: {build: ., mem_limit: 5}}", /below one MiB/],
    ["services: {a: {build: ., cpus: 0.001}}", /below 0.01 cores/],
    ["services: {a: {build: ., deploy: {update_config: {order: any}}}}", /not an order/],
    ["services: {a: {build: ., deploy: {restart_policy: {condition: x}}}}", /not a condition/],
    ["services: {a: {build: ., stop_grace_period: 10}}", /not a duration/],
    ['services: {a: {build: ., command: "x \'y"}}', /a closing ' is missing/],
    ["services: {a: {build: ., stop_grace_period: 10w}}", /gracePeriod/],
    ["services: {a: {image: 'a b'}}", /not the name of an image/],
    ["services: {a: {build: ., working_dir: ../x}}", /compose_refused .* leads out/],
    ["services: {a: {build: ., x-berth: {kind: cron}}}", /needs a schedule/],
    ["services: {a: {build: ., x-berth: {kind: web, schedule: '* * * * *'}}}", /has no schedule/],
    ["services: {a: {build: ., x-berth: {schedule: daily}}}", /not a cron expression/],
    ["services: {a: {build: ., x-berth: {schedule: {cron: '* * * * *', timeZone: Mars}}}}", /not a time zone/],
    ["services: {a: {build: ., x-berth: {kind: job}}}", /is one of web, worker, stateful, cron/],
    ["services: {a: {build: ., x-berth: {drainTimeout: soon}}}", /Write a duration/],
    ["services: {a: {build: ., x-berth: {domains: ['no spaces']}}}", /x-berth.domains.0.host/],
    ["services: {a: {build: ., x-berth: {domains: [a.test], kind: worker}}}", /has no domains/],
    ["services: {a: {build: ., x-berth: {strategy: {type: rolling, maxSurg: 1}}}}", /has no key maxSurg/],
    ["services: {a: {build: ., x-berth: [x]}}", /is a mapping/],
    ["services: {a: {build: ., x-berth: {probes: {readiness: {check: {type: ping}}}}}}", /x-berth.probes.readiness/],
    ["services: {a: {build: .}}\nx-berth: {runEnv: 'a b'}", /x-berth.runEnv/],
    ["services: {a: {build: .}}\nx-berth: {drift: ignore}", /x-berth.drift/],
    ["services: {a: {build: .}}\nvolumes: [x]", /`volumes` is a mapping/],
    ["services: {a: {build: .}}\nname: [x]", /single value/],
    ["services: {a: {build: ., privileged: maybe}}", /compose_refused a privileged/],
    ["services: {a: {build: ., healthcheck: {test: x, disable: maybe}}}", /true or false/],
  ])("%s", (text, message) => expect(messages(yaml(text))).toMatch(message));
});

describe("the stack", () => {
  test("name and runEnv", () => {
    expect(definitionOf(yaml("name: shop\nservices: {a: {build: .}}\nx-berth: {runEnv: staging}\n"))).toMatchObject({
      name: "shop",
      runEnv: "staging",
    });
    expect(definitionOf(yaml("name: shop\nservices: {a: {build: .}}\nx-berth: {stack: other}\n")).name).toBe("other");
    expect(definitionOf(yaml("name: My Shop_1\nservices: {a: {build: .}}\n")).name).toBe("my-shop-1");
  });
  test("a harmless key is noted once, for all components that have it", () => {
    const notes = notesOf(yaml("services:\n  a: {build: ., hostname: x}\n  b: {build: ., hostname: y}\n"));
    expect(notes).toEqual([
      {
        code: "compose_key_ignored",
        params: {
          key: "hostname",
          instead: "instances are named by Berth; siblings reach a component by its name",
          file: "compose.yaml",
          line: "2",
          component: "a, b",
        },
      },
    ]);
  });
});
