// The key table's part for what is nested in a service. Data only.
import { harmless, honoured, refused, type KeyRule } from "./rule.ts";

export const deployRules: readonly KeyRule[] = [
  honoured("replicas", "wanted instances when the component is made; afterwards `berth scale` decides"),
  honoured("resources", "limits"),
  honoured("update_config", "how a release replaces the one before"),
  honoured("restart_policy", "as `restart`; this one wins"),
  refused(
    "mode",
    "Berth counts instances, not machines, and runs jobs by schedule",
    "Use `replicas`, or `x-berth: { schedule: ... }` for a job.",
    ["replicated"],
  ),
  harmless("endpoint_mode", "siblings reach a component through the router"),
  harmless("labels", "objects carry Berth's own labels"),
  harmless("placement", "the stack's cluster places its instances"),
  harmless("rollback_config", "a release that does not become ready is taken back, and the old one has served all along"),
];
export const resourceRules: readonly KeyRule[] = [
  honoured("limits", "limits of each instance"),
  honoured("reservations", "only asked for devices, which are refused"),
];
export const limitRules: readonly KeyRule[] = [
  honoured("cpus", "cores"),
  honoured("memory", "bytes, as `512m`"),
  honoured("pids", "processes"),
];
export const reservationRules: readonly KeyRule[] = [
  harmless("cpus", "only the limit counts"),
  harmless("memory", "only the limit counts"),
  refused("devices", "Berth hands out no devices yet", "Remove it."),
  refused("generic_resources", "Berth hands out no devices yet", "Remove it."),
];
export const updateRules: readonly KeyRule[] = [
  honoured("parallelism", "how many instances are replaced at a time; 0 is all"),
  honoured("order", "`start-first` (what Berth does when nothing is said): new ones before old ones go; `stop-first`: old ones go first"),
  honoured("delay", "how long a new instance has to stay ready before the next one is replaced"),
  harmless("failure_action", "a release that does not become ready fails, and the old one goes on serving"),
  harmless("monitor", "`x-berth: { strategy: { minReady, progressDeadline } }` sets the times"),
  harmless("max_failure_ratio", "every instance has to be ready"),
];
export const rollbackRules: readonly KeyRule[] = [
  harmless("parallelism", "a rollback goes as a release does"),
  harmless("order", "a rollback goes as a release does"),
  harmless("delay", "a rollback goes as a release does"),
  harmless("failure_action", "a rollback goes as a release does"),
  harmless("monitor", "a rollback goes as a release does"),
  harmless("max_failure_ratio", "a rollback goes as a release does"),
];
export const restartPolicyRules: readonly KeyRule[] = [
  honoured("condition", "`any`: always; `on-failure`; `none`: never"),
  harmless("delay", "the time between restarts grows by itself"),
  harmless("max_attempts", "restarts go on, with growing time between them"),
  harmless("window", "restarts go on, with growing time between them"),
];
export const placementRules: readonly KeyRule[] = [
  harmless("constraints", "the stack's cluster places its instances"),
  harmless("preferences", "the stack's cluster places its instances"),
  harmless("max_replicas_per_node", "the stack's cluster places its instances"),
];
export const healthcheckRules: readonly KeyRule[] = [
  honoured(
    "test",
    "`CMD`, `CMD-SHELL`, a line, or `NONE`. `curl -f` and `wget` of the component's own port become an HTTP probe, `nc -z` and `curl` without `-f` a TCP probe, so that they need no such program and find the port wherever it is",
  ),
  honoured("interval", "time between two probes"),
  honoured("timeout", "how long one may take"),
  honoured("retries", "failures in a row until it is not ready"),
  honoured("start_period", "time for the start: the startup probe's budget"),
  honoured("start_interval", "time between two probes at the start"),
  honoured("disable", "`true`: no probe"),
];
export const portRules: readonly KeyRule[] = [
  honoured("target", "the port on which the program listens"),
  honoured("published", "the public port, for `tcp`; HTTP is reached by host name on the router's port"),
  honoured("app_protocol", "`http` or `ws`: HTTP/1.1; `h2c`, `http2` or `grpc`: HTTP/2 without TLS; `tcp` and anything else: `tcp`"),
  honoured("protocol", "`tcp`; `udp` is refused, since the router leads HTTP and TCP"),
  honoured("host_ip", "a loopback address: the port is not published"),
  honoured("name", "the port's name"),
  harmless("mode", "the router leads to every instance", ["ingress", "host"]),
];
export const volumeMountRules: readonly KeyRule[] = [
  honoured("type", "`volume`; `tmpfs` is harmless; `bind`, `npipe`, `cluster` and `image` are refused"),
  honoured("source", "the volume's name"),
  honoured("target", "where it is in the instance; on the local engine `BERTH_VOLUME_<NAME>` says where"),
  honoured("read_only", "it cannot be written"),
  honoured("volume", "see below"),
  harmless("consistency", "volumes are local to the instance"),
  harmless("tmpfs", "every instance has a temporary folder of its own"),
  refused("bind", "folders of the machine are not reachable", "Use a named volume."),
  refused("image", "images are not mounted", "Copy what you need in the build."),
];
export const volumeOptionRules: readonly KeyRule[] = [
  harmless("nocopy", "a new volume is empty"),
  harmless("labels", "volumes carry Berth's own labels"),
  refused("subpath", "a volume is mounted whole", "Use a volume of its own."),
];
export const tmpfsRules: readonly KeyRule[] = [
  harmless("size", "every instance has a temporary folder of its own"),
  harmless("mode", "every instance has a temporary folder of its own"),
];
