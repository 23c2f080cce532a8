// Every key that a Compose file may have, in one table: what becomes of it here, or why it is refused. It is data: reading obeys it and docs/guide/compose.md prints it.
import { overlayKinds } from "@berth/contract/overlay.ts";
import { harmless, honoured, refused, type KeyRule } from "./rule.ts";
import { serviceRules } from "./table-service.ts";
import {
  deployRules,
  healthcheckRules,
  limitRules,
  placementRules,
  portRules,
  reservationRules,
  resourceRules,
  restartPolicyRules,
  rollbackRules,
  tmpfsRules,
  updateRules,
  volumeMountRules,
  volumeOptionRules,
} from "./table-nested.ts";

export interface Area {
  readonly title: string;
  /** Where it is in the file. */ readonly path: string;
  readonly rules: readonly KeyRule[];
}

const topRules: readonly KeyRule[] = [
  honoured("name", "the stack's name, when `berth up` is not told another one"),
  honoured("services", "the stack's components, one each"),
  honoured("volumes", "named volumes; they survive releases and the removal of component and stack, until someone deletes them by name"),
  honoured("secrets", "secrets of the stack; their values are stored encrypted and are part of no release or diff"),
  honoured("configs", "texts for components, see `configs` of a service"),
  honoured("include", "other Compose files, each with its own folder and `.env`"),
  honoured(
    "x-berth",
    "`runEnv` (what components find in `RUN_ENV`), `stack` (the stack's name) and `drift` (what is done about changes by hand in a Kubernetes cluster)",
  ),
  harmless("version", "Compose ignores it too; it may be removed"),
  harmless("networks", "the components of one stack reach each other and nobody else's; there is nothing to set up"),
  refused("models", "Berth runs no language models", "Run the model elsewhere and pass its address in `environment`."),
];

const buildRules: readonly KeyRule[] = [
  honoured("context", "the folder that is built; `.` when absent"),
  honoured("dockerfile", "the Dockerfile, from the context's folder, where images are built"),
  honoured("target", "the stage of the Dockerfile"),
  honoured("args", "arguments of the build; one without a value is taken from your shell"),
  refused("dockerfile_inline", "the build would not be in the repository", "Write it to a Dockerfile and name that in `dockerfile`."),
  refused("additional_contexts", "a build sees one folder", "Move what it needs below the context."),
  refused("entitlements", "a build gets no extra rights", "Remove it."),
  refused("privileged", "a build gets no extra rights", "Remove it.", [false]),
  refused("ssh", "a build gets no keys", "Fetch private sources before the build, or set a deploy key for the source."),
  honoured(
    "secrets",
    "secrets of the stack for steps of a Dockerfile that ask for them by `RUN --mount=type=secret`, with BuildKit; no other step sees them",
  ),
  refused("network", "a build has its own network", "Remove it.", ["default"]),
  harmless("cache_from", "builds of one stack share a cache"),
  harmless("cache_to", "builds of one stack share a cache"),
  harmless("no_cache", "what has changed is built again"),
  harmless("no_cache_filter", "what has changed is built again"),
  harmless("pull", "what has changed is built again"),
  harmless("labels", "artifacts carry Berth's own labels"),
  harmless("tags", "artifacts are known by their digest"),
  harmless("platforms", "built for the machine that it runs on"),
  harmless("extra_hosts", "a build resolves names as its machine does"),
  harmless("isolation", "builds are isolated by Berth"),
  harmless("shm_size", "the machine's default holds"),
  harmless("ulimits", "the build's own limits hold"),
  harmless("provenance", "a build records its source and how it was built"),
  harmless("sbom", "a build records its source and how it was built"),
];

const topVolumeRules: readonly KeyRule[] = [
  honoured("external", "the volume has to be there already"),
  harmless("name", "a volume belongs to its stack and is called by its key"),
  harmless("labels", "volumes carry Berth's own labels"),
  refused("driver", "where volumes are kept is a matter of the cluster", "Remove it.", ["local", "default"]),
  refused("driver_opts", "options of a driver could reach any folder or server", "Remove it and copy the data into the volume."),
];
const secretRules: readonly KeyRule[] = [
  honoured("file", "the value is this file's text, without a line break at its end"),
  honoured("environment", "the value is this variable of your shell or `.env`"),
  honoured("external", "the secret is set in the stack with `berth secrets set`"),
  honoured("name", "the secret's name in the stack, when it is external"),
  harmless("labels", "secrets have no labels"),
  refused("driver", "Berth keeps secrets itself", "Remove it and use `berth secrets set`."),
  refused("driver_opts", "Berth keeps secrets itself", "Remove it and use `berth secrets set`."),
  refused("template_driver", "values are taken as they are", "Remove it."),
];
const configRules: readonly KeyRule[] = [
  honoured("file", "the value is this file's text"),
  honoured("content", "the value, with variables filled in"),
  honoured("environment", "the value is this variable of your shell or `.env`"),
  harmless("name", "a config is called by its key"),
  harmless("labels", "configs have no labels"),
  refused("external", "the stack's config is not kept as files", "Give it `file:` or `content:`, or use `berth config set`.", [false]),
  refused("template_driver", "values are taken as they are", "Remove it."),
];
const grantRules: readonly KeyRule[] = [
  honoured("source", "the secret or config of the stack"),
  honoured("target", "a plain name; it is the environment variable's name, in capitals. A path is refused"),
  harmless("uid", "there is no file that could have an owner"),
  harmless("gid", "there is no file that could have an owner"),
  harmless("mode", "there is no file that could have a mode"),
];
const envFileRules: readonly KeyRule[] = [
  honoured("path", "the file"),
  honoured("required", "`false`: it may be absent"),
  honoured("format", "`raw` takes values as they stand, without quotes and variables"),
];
const dependencyRules: readonly KeyRule[] = [
  honoured("condition", "`service_started`, `service_healthy` (ready) or `service_completed_successfully`"),
  honoured("required", "`false`: the other one may be left out by its profiles"),
  harmless("restart", "a component reaches its siblings through the router, so it need not restart with them"),
];
const berthRules: readonly KeyRule[] = [
  honoured("kind", "`web`, `worker`, `stateful` or `cron`, instead of what is inferred"),
  honoured(
    "follow",
    "`true`: when the registry says that the tag of its `image` was moved, the new one is rolled out ([webhooks](registries.md#when-a-tag-moves))",
  ),
  honoured(
    "autoscale",
    "`{ min, max, cpu, memory }`: so many instances, within these limits, that each uses that percent of its limit on average ([by what they use](kubernetes.md#as-many-as-it-takes)). Clusters of Kubernetes only; refused elsewhere",
  ),
  honoured(
    "placement",
    "`{ clusters: [{ name, replicas }], pause }`: the clusters that it runs in, in the order in which releases go through them ([several clusters](kubernetes.md#in-several-clusters)); `share` instead of `replicas` divides `deploy.replicas`",
  ),
  honoured("process", "which process type of the build it runs"),
  honoured(
    "domains",
    "host names that lead to it: `shop.example.com`, `example.com/shop`, or `{ host, path, https: redirect }`, which sends plain requests to HTTPS",
  ),
  honoured("schedule", "cron expression, or `{ cron, timeZone, overlap, deadline, startingDeadline }`"),
  honoured("strategy", "`rolling`, `recreate`, or `{ type, maxSurge, maxUnavailable, minReady, progressDeadline }`"),
  honoured(
    "probes",
    "`startup`, `readiness`, `liveness`, each `{ check, initialDelay, period, timeout, successThreshold, failureThreshold }`; they win over `healthcheck`",
  ),
  honoured("drainTimeout", "how long requests in flight may last after an instance left the router; `30s` when absent"),
  honoured("maxBody", "the largest request body, as `10m`; larger ones are answered with 413. No limit when absent"),
  honoured("maxConnections", "requests and connections at the same time, at most; more are answered with 503 and `Retry-After`"),
  honoured("gracePeriod", "time between SIGTERM and SIGKILL; wins over `stop_grace_period`"),
  honoured("securityProfile", "`restricted`, `baseline` or `privileged` (takes the permission `privileges.grant`)"),
  honoured(
    "ports",
    "`{ 5432: tcp }` says how a port is spoken to (`http` or `tcp`); a list of `{ name, protocol, appProtocol, port, published }` replaces all ports",
  ),
  honoured("secrets", "environment variable -> name of a secret of the stack"),
  honoured("command", "`{ exec: [...] }` or `{ shell: LINE }`; wins over `command`"),
  honoured("entrypoint", "`{ exec: [...] }` or `{ shell: LINE }`; wins over `entrypoint`"),
  honoured(
    "kubernetes",
    `kind -> part of an object that is merged over what Berth makes of the component on a Kubernetes cluster ([overlays](overlays.md)): ${overlayKinds.map((kind) => `\`${kind}\``).join(", ")}. Noted and of no effect on other clusters`,
  ),
];
const berthTopRules: readonly KeyRule[] = [
  honoured("runEnv", "what components find in `RUN_ENV`"),
  honoured("stack", "the stack's name; wins over `name`"),
  honoured(
    "drift",
    "what is done about changes that somebody makes by hand in a Kubernetes cluster: `repair` takes them back, as for a stack that says nothing; `report` only shows them",
  ),
];

export const areas = {
  top: { title: "Top level", path: "", rules: topRules },
  service: { title: "Services", path: "services.NAME", rules: serviceRules },
  berth: { title: "`x-berth` of a service", path: "services.NAME.x-berth", rules: berthRules },
  berthTop: { title: "`x-berth` at the top", path: "x-berth", rules: berthTopRules },
  build: { title: "`build`", path: "services.NAME.build", rules: buildRules },
  deploy: { title: "`deploy`", path: "services.NAME.deploy", rules: deployRules },
  resources: { title: "`deploy.resources`", path: "services.NAME.deploy.resources", rules: resourceRules },
  limits: { title: "`deploy.resources.limits`", path: "services.NAME.deploy.resources.limits", rules: limitRules },
  reservations: { title: "`deploy.resources.reservations`", path: "services.NAME.deploy.resources.reservations", rules: reservationRules },
  update: { title: "`deploy.update_config`", path: "services.NAME.deploy.update_config", rules: updateRules },
  rollback: { title: "`deploy.rollback_config`", path: "services.NAME.deploy.rollback_config", rules: rollbackRules },
  restartPolicy: { title: "`deploy.restart_policy`", path: "services.NAME.deploy.restart_policy", rules: restartPolicyRules },
  placement: { title: "`deploy.placement`", path: "services.NAME.deploy.placement", rules: placementRules },
  healthcheck: { title: "`healthcheck`", path: "services.NAME.healthcheck", rules: healthcheckRules },
  dependency: { title: "`depends_on`, long form", path: "services.NAME.depends_on.OTHER", rules: dependencyRules },
  port: { title: "`ports`, long form", path: "services.NAME.ports[]", rules: portRules },
  mount: { title: "`volumes` of a service, long form", path: "services.NAME.volumes[]", rules: volumeMountRules },
  mountVolume: { title: "`volumes[].volume`", path: "services.NAME.volumes[].volume", rules: volumeOptionRules },
  mountTmpfs: { title: "`volumes[].tmpfs`", path: "services.NAME.volumes[].tmpfs", rules: tmpfsRules },
  envFile: { title: "`env_file`, long form", path: "services.NAME.env_file[]", rules: envFileRules },
  grant: { title: "`secrets` and `configs` of a service, long form", path: "services.NAME.secrets[]", rules: grantRules },
  volume: { title: "`volumes` at the top", path: "volumes.NAME", rules: topVolumeRules },
  secret: { title: "`secrets` at the top", path: "secrets.NAME", rules: secretRules },
  config: { title: "`configs` at the top", path: "configs.NAME", rules: configRules },
} as const satisfies Record<string, Area>;
export type AreaName = keyof typeof areas;
