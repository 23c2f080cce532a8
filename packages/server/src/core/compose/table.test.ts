// Walks the key table: every key of every area is put into a file, and has to do what its class says.
import { describe, expect, test } from "vitest";
import { fill } from "@berth/contract/causes.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { stringify } from "yaml";
import type { KeyRule } from "./rule.ts";
import { areas, type AreaName } from "./table.ts";
import { line, readProject, type Project } from "./project.testkit.ts";

/** A value for keys that cannot be just any text. */
const samples: Readonly<Record<string, unknown>> = {
  "top.name": "shop",
  "top.services": {},
  "top.volumes": {},
  "top.secrets": {},
  "top.configs": {},
  "top.include": ["other.yaml"],
  "top.x-berth": { runEnv: "test" },
  "top.networks": { front: null },
  "top.models": { llm: { model: "m" } },
  "service.build": ".",
  "service.environment": { A: "1" },
  "service.env_file": "a.env",
  "service.ports": ["80"],
  "service.expose": [80],
  "service.volumes": ["data:/data"],
  "service.secrets": ["key"],
  "build.secrets": ["key"],
  "service.configs": ["text"],
  "service.depends_on": ["other"],
  "service.healthcheck": { test: ["NONE"] },
  "service.deploy": { replicas: 2 },
  "service.scale": 2,
  "service.restart": "always",
  "service.stop_grace_period": "5s",
  "service.mem_limit": "64m",
  "service.cpus": 0.5,
  "service.pids_limit": 10,
  "service.profiles": [],
  "service.extends": "other",
  "service.links": ["other"],
  "service.x-berth": { kind: "worker" },
  "service.security_opt": ["seccomp:unconfined"],
  "berth.kind": "worker",
  "berth.follow": false,
  "berth.autoscale": { min: 1, max: 3, cpu: 70 },
  "berth.placement": {
    clusters: [
      { name: "east", replicas: 1 },
      { name: "west", replicas: 1 },
    ],
  },
  "berth.domains": ["a.test"],
  "berth.schedule": "* * * * *",
  "berth.strategy": "recreate",
  "berth.probes": { liveness: { check: { type: "tcp" } } },
  "berth.drainTimeout": "5s",
  "berth.maxBody": "10m",
  "berth.maxConnections": 100,
  "berth.gracePeriod": "5s",
  "berth.securityProfile": "baseline",
  "berth.ports": { 80: "tcp" },
  "berth.secrets": { KEY: "key" },
  "berth.command": { exec: ["x"] },
  "berth.entrypoint": { shell: "x" },
  "berth.kubernetes": { Deployment: { metadata: { labels: { tier: "front" } } } },
  "build.args": { A: "1" },
  "build.privileged": true,
  "deploy.replicas": 2,
  "deploy.resources": { limits: { memory: "64m" } },
  "deploy.update_config": { parallelism: 1 },
  "deploy.restart_policy": { condition: "any" },
  "deploy.mode": "global",
  "deploy.placement": { constraints: ["x"] },
  "deploy.rollback_config": { delay: "1s" },
  "resources.limits": { memory: "64m" },
  "resources.reservations": { memory: "64m" },
  "limits.cpus": "0.5",
  "limits.memory": "64m",
  "limits.pids": 5,
  "update.parallelism": 1,
  "update.order": "start-first",
  "update.delay": "1s",
  "restartPolicy.condition": "any",
  "healthcheck.test": ["CMD", "true"],
  "healthcheck.interval": "1s",
  "healthcheck.timeout": "1s",
  "healthcheck.retries": 2,
  "healthcheck.start_period": "1s",
  "healthcheck.start_interval": "1s",
  "healthcheck.disable": true,
  "dependency.condition": "service_healthy",
  "dependency.required": false,
  "port.target": 80,
  "port.published": 8080,
  "port.protocol": "tcp",
  "port.app_protocol": "http",
  "port.host_ip": "127.0.0.1",
  "port.name": "web",
  "port.mode": "x",
  "mount.type": "volume",
  "mount.source": "data",
  "mount.target": "/data",
  "mount.read_only": true,
  "mount.volume": { nocopy: true },
  "mount.bind": { propagation: "x" },
  "mount.tmpfs": { size: 5 },
  "mount.image": { subpath: "x" },
  "envFile.path": "a.env",
  "envFile.required": true,
  "envFile.format": "raw",
  "grant.source": "key",
  "grant.target": "plain",
  "volume.external": true,
  "volume.driver": "nfs",
  "volume.driver_opts": { o: "bind" },
  "secret.file": "a.env",
  "secret.environment": "VAR",
  "secret.external": true,
  "secret.driver_opts": { a: 1 },
  "config.file": "a.env",
  "config.content": "x",
  "config.environment": "VAR",
  "config.external": true,
  "berthTop.runEnv": "test",
  "berthTop.drift": "report",
  "berthTop.stack": "shop",
};
const sample = (area: AreaName, key: string) =>
  samples[`${area}.${key}`] ?? (area === "service" && key.endsWith("_config") ? { weight: 5 } : "text");

/** A file that is right but for what is put at the area's place. */
function project(area: AreaName, key: string): Project {
  const value = sample(area, key);
  const service: Record<string, unknown> = area === "service" && key === "image" ? {} : { build: "." };
  const file: Record<string, unknown> = {
    services: { a: service, other: { build: "." } },
    volumes: { data: null },
    secrets: { key: { external: true } },
    configs: { text: { content: "x" } },
  };
  const put = { [key]: value };
  switch (area) {
    case "top":
      if (!(key in file)) Object.assign(file, put);
      break;
    case "service":
      Object.assign(service, put);
      break;
    case "berth":
      service["x-berth"] = { ...put, ...(key === "domains" ? { kind: "web" } : {}) };
      if (key === "autoscale") service["cpus"] = 1;
      break;
    case "berthTop":
      file["x-berth"] = put;
      break;
    case "build":
      service.build = put;
      break;
    case "deploy":
      service.deploy = put;
      break;
    case "resources":
      service.deploy = { resources: put };
      break;
    case "limits":
    case "reservations":
      service.deploy = { resources: { [area]: put } };
      break;
    case "update":
      service.deploy = { update_config: put };
      break;
    case "rollback":
      service.deploy = { rollback_config: put };
      break;
    case "restartPolicy":
      service.deploy = { restart_policy: put };
      break;
    case "placement":
      service.deploy = { placement: put };
      break;
    case "healthcheck":
      service.healthcheck = { test: ["CMD", "true"], ...put };
      break;
    case "dependency":
      service.depends_on = { other: put };
      break;
    case "port":
      service.ports = [{ target: 80, ...put }];
      break;
    case "mount":
      service.volumes = [{ type: "volume", source: "data", target: "/data", ...put }];
      break;
    case "mountVolume":
      service.volumes = [{ type: "volume", source: "data", target: "/data", volume: put }];
      break;
    case "mountTmpfs":
      service.volumes = [{ type: "tmpfs", target: "/data", tmpfs: put }];
      break;
    case "envFile":
      service.env_file = [{ path: "a.env", ...put }];
      break;
    case "grant":
      service.secrets = [{ source: "key", ...put }];
      break;
    case "volume":
      file.volumes = { data: put };
      break;
    case "secret":
      file.secrets = { key: key === "file" || key === "environment" || key === "external" ? put : { environment: "VAR", ...put } };
      break;
    case "config":
      file.configs = {
        text: key === "file" || key === "environment" || key === "external" || key === "content" ? put : { content: "x", ...put },
      };
      break;
  }
  return { files: { "compose.yaml": stringify(file), "a.env": "A=1", "other.yaml": "services: {}" }, shell: { VAR: "value" } };
}

/** Keys of sections that are harmless as a whole: the note is about the section. */
const whole: Partial<Record<AreaName, string>> = {
  rollback: "deploy.rollback_config",
  placement: "deploy.placement",
  mountTmpfs: "volumes.tmpfs",
};

const all = Object.keys(areas).flatMap((area) =>
  (areas[area as AreaName].rules as readonly KeyRule[]).map((rule) => [area as AreaName, rule] as const),
);

describe("every key does what its class says", () => {
  test.each(all.map(([area, rule]) => [`${areas[area].path} ${rule.key}: ${rule.class}`, area, rule] as const))("%s", (_, area, rule) => {
    const result = readProject(project(area, rule.key));
    const about = (key: string) =>
      key === (whole[area] ?? key) && (key === rule.key || key.endsWith(`.${rule.key}`) || key === whole[area]);
    if (rule.class === "refused") {
      const refusals = result.ok
        ? []
        : result.problems.filter((problem) => problem.code === "compose_refused" && about(problem.params.key));
      expect(refusals, result.ok ? "not refused" : result.problems.map(line).join("\n")).toHaveLength(1);
      expect(refusals[0]?.params).toMatchObject({ file: "compose.yaml", reason: rule.text, hint: rule.hint });
      expect(refusals[0]?.params.line).toBeGreaterThan(0);
      return;
    }
    expect(result.ok ? "" : result.problems.map(line).join("\n")).toBe("");
    const notes = result.ok
      ? result.definition.notes.filter((note) => note.code === "compose_key_ignored" && about(note.params.key ?? ""))
      : [];
    expect(notes).toHaveLength(rule.class === "harmless" ? 1 : 0);
    for (const note of result.ok ? result.definition.notes : []) expect(renderNote(note)).not.toMatch(/\{\w+\}|^compose_/);
  });
});

test("the table has every key of the Compose specification, each once", () => {
  const keys = (area: AreaName) => areas[area].rules.map((rule) => rule.key);
  for (const area of Object.keys(areas)) expect(new Set(keys(area as AreaName)).size).toBe(keys(area as AreaName).length);
  const specification = {
    top: "version name include services models networks volumes secrets configs",
    service:
      "develop deploy annotations attach build blkio_config cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count cpu_percent cpu_shares cpu_quota cpu_period cpu_rt_period cpu_rt_runtime cpus cpuset credential_spec depends_on device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file label_file environment expose extends provider external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit network_mode models networks oom_kill_disable oom_score_adj pid pids_limit platform ports pre_start post_start pre_stop privileged profiles pull_policy pull_refresh_after read_only restart runtime scale security_opt shm_size secrets sysctls stdin_open stop_grace_period stop_signal storage_opt tmpfs tty ulimits use_api_socket user uts userns_mode volumes volumes_from working_dir",
    build:
      "context dockerfile dockerfile_inline entitlements args ssh labels cache_from cache_to no_cache no_cache_filter additional_contexts network provenance sbom pull target shm_size extra_hosts isolation privileged secrets tags ulimits platforms",
    deploy: "mode endpoint_mode replicas labels rollback_config update_config resources restart_policy placement",
    limits: "cpus memory pids",
    reservations: "cpus memory generic_resources devices",
    update: "parallelism delay failure_action monitor max_failure_ratio order",
    rollback: "parallelism delay failure_action monitor max_failure_ratio order",
    restartPolicy: "condition delay max_attempts window",
    placement: "constraints preferences max_replicas_per_node",
    healthcheck: "disable interval retries test timeout start_period start_interval",
    dependency: "restart required condition",
    port: "name mode host_ip target published protocol app_protocol",
    mount: "type source target read_only consistency bind volume tmpfs image",
    mountVolume: "labels nocopy subpath",
    mountTmpfs: "size mode",
    envFile: "path format required",
    grant: "source target uid gid mode",
    volume: "name driver driver_opts external labels",
    secret: "name environment file external labels driver driver_opts template_driver",
    config: "name content environment file external labels template_driver",
  } satisfies Partial<Record<AreaName, string>>;
  for (const [area, wanted] of Object.entries(specification))
    expect(
      keys(area as AreaName)
        .filter((key) => key !== "x-berth")
        .sort(),
    ).toEqual(wanted.split(" ").sort());
});

test("a refused key that asks for what Berth does anyway is fine", () => {
  for (const [area, rule] of all) {
    for (const value of rule.fine ?? []) {
      const given = project(area, rule.key);
      const path = areas[area].path.includes("NAME") ? area : "";
      const text = stringify({
        services: {
          a:
            area === "service"
              ? { build: ".", [rule.key]: rule.key === "security_opt" ? [value] : value }
              : area === "deploy"
                ? { build: ".", deploy: { [rule.key]: value } }
                : area === "build"
                  ? { build: { [rule.key]: value } }
                  : area === "port"
                    ? { build: ".", ports: [{ target: 80, [rule.key]: value }] }
                    : { build: "." },
        },
        ...(area === "volume"
          ? { volumes: { v: { [rule.key]: value } } }
          : area === "config"
            ? { configs: { c: { content: "x", [rule.key]: value } } }
            : {}),
      });
      const result = readProject({ ...given, files: { "compose.yaml": text } });
      expect(result.ok ? result.definition.notes : result.problems.map(line), `${path} ${rule.key}: ${String(value)}`).toEqual([]);
    }
  }
});

describe("an unknown key is a problem that says what was probably meant", () => {
  test.each([
    [
      "services: {a: {build: ., enviroment: {A: 1}}}",
      "compose.yaml:1:26 `enviroment` is not a key of services (Did you mean `environment`?)",
    ],
    ["servces: {a: {build: .}}", "compose.yaml:1:1 `servces` is not a key of the top level (Did you mean `services`?)"],
    ["services: {a: {build: ., replicas: 2}}", "compose.yaml:1:26 `replicas` is not a key of services (It belongs to `deploy`.)"],
    ["services: {a: {build: {contxt: .}}}", "compose.yaml:1:24 `contxt` is not a key of `build` (Did you mean `context`?)"],
    [
      "services: {a: {build: ., deploy: {resources: {limits: {memroy: 1g}}}}}",
      "compose.yaml:1:56 `memroy` is not a key of `deploy.resources.limits` (Did you mean `memory`?)",
    ],
    [
      "services: {a: {build: ., x-berth: {kid: web}}}",
      "compose.yaml:1:36 `kid` is not a key of `x-berth` of a service (Did you mean `kind`?)",
    ],
    [
      "services: {a: {build: ., whatever_it_is: 1}}",
      "compose.yaml:1:26 `whatever_it_is` is not a key of services (Own keys start with `x-`.)",
    ],
  ])("%s", (text, expected) => {
    const result = readProject({ files: { "compose.yaml": text } });
    expect(result.ok ? [] : result.problems.map(({ params }) => fill("{file}{at} {reason} ({hint})", params))).toContain(expected);
  });
  test("own keys are left alone everywhere", () =>
    expect(
      readProject({
        files: { "compose.yaml": "x-mine: {a: 1}\nservices: {a: {x-own: 1, build: {context: ., x-b: 1}, deploy: {x-d: 1}}}\n" },
      }).ok,
    ).toBe(true));
});
