// What a pod may not ask for, looked at after an overlay was merged: rights that reach its node, other pods or the cluster's API. Pure.
// The levels are those of Kubernetes; beside them stand other accounts of the cluster, chosen nodes and the priorities of the cluster's own parts.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { at, isTree, own, type Path, type Refusal, type Tree } from "./merge.ts";

type Profile = ComponentSpec["securityProfile"];

const volumeKinds: ReadonlySet<string> = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "image",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);
const safeSysctls: ReadonlySet<unknown> = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ping_group_range",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.tcp_wmem",
]);
const capabilities: Readonly<Record<Exclude<Profile, "privileged">, ReadonlySet<unknown>>> = {
  restricted: new Set(["NET_BIND_SERVICE"]),
  baseline: new Set([
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
  ]),
};
const seLinuxTypes: ReadonlySet<unknown> = new Set([
  undefined,
  "",
  "container_t",
  "container_init_t",
  "container_kvm_t",
  "container_engine_t",
]);
const systemPriorities: ReadonlySet<unknown> = new Set(["system-cluster-critical", "system-node-critical"]);

const needsProfile =
  "Remove it; what cannot do without says `x-berth: { securityProfile: privileged }`, which takes the permission privileges.grant.";
const needsBaseline = "Remove it; `x-berth: { securityProfile: baseline }` is for images that need more than what Berth builds.";

/** Collects what is wrong, with where it stands. */
class Look {
  readonly found: Refusal[] = [];
  say(path: Path, reason: string, way: string = needsProfile): void {
    this.found.push({ path, reason, way });
  }
}

/** Everything in a template of pods (`path`: where it stands in its object) that the component's profile does not allow; nothing for `privileged`. */
export function notAllowed(template: Tree, profile: Profile, path: Path): Refusal[] {
  if (profile === "privileged") return [];
  const look = new Look();
  const spec = treeAt(template, "spec");
  const inSpec = at(path, "spec");
  lookAtPod(look, spec, profile, inSpec);
  for (const key of Object.keys(treeAt(treeAt(template, "metadata"), "annotations")))
    if (key.startsWith("container.apparmor.security.beta.kubernetes.io/"))
      look.say(`${at(path, "metadata")}.annotations[${key}]`, "it changes what the kernel lets the program do");
  for (const list of ["containers", "initContainers"])
    for (const container of treesAt(spec, list))
      lookAtContainer(look, container, profile, `${at(inSpec, list)}[${String(own(container, "name"))}]`);
  return look.found;
}

function lookAtPod(look: Look, spec: Tree, profile: Exclude<Profile, "privileged">, path: Path): void {
  for (const [key, what] of [
    ["hostNetwork", "the network of its node"],
    ["hostPID", "the processes of its node"],
    ["hostIPC", "the memory that programs of its node share"],
  ] as const)
    if (isSet(own(spec, key))) look.say(at(path, key), `it would take ${what}`);
  if (own(spec, "automountServiceAccountToken") !== false)
    look.say(at(path, "automountServiceAccountToken"), "a program gets no rights in the cluster");
  for (const key of ["serviceAccountName", "serviceAccount"])
    if (own(spec, key) !== undefined) look.say(at(path, key), "it would act in the cluster as another account");
  if (own(spec, "nodeName") !== undefined)
    look.say(at(path, "nodeName"), "it would pass by the scheduler, and by the nodes' taints", "Write a `nodeSelector`.");
  if (systemPriorities.has(own(spec, "priorityClassName")))
    look.say(
      at(path, "priorityClassName"),
      "it is for the cluster's own parts, before which everything else gives way",
      "Name a class of your own.",
    );
  for (const volume of treesAt(spec, "volumes")) lookAtVolume(look, volume, `${at(path, "volumes")}[${String(own(volume, "name"))}]`);
  const security = treeAt(spec, "securityContext");
  const inSecurity = at(path, "securityContext");
  for (const sysctl of treesAt(security, "sysctls"))
    if (!safeSysctls.has(own(sysctl, "name")))
      look.say(`${at(inSecurity, "sysctls")}[${String(own(sysctl, "name"))}]`, "the setting is not the pod's alone");
  lookAtContext(look, security, inSecurity);
  if (profile !== "restricted") return;
  if (own(security, "runAsNonRoot") !== true)
    look.say(at(inSecurity, "runAsNonRoot"), "the profile `restricted` runs nothing as root", needsBaseline);
  if (!isSeccomp(security))
    look.say(at(inSecurity, "seccompProfile"), "the profile `restricted` keeps the runtime's filter of system calls", needsBaseline);
}

/** What pods and containers both have. */
function lookAtContext(look: Look, security: Tree, path: Path): void {
  for (const key of ["seccompProfile", "appArmorProfile"])
    if (own(treeAt(security, key), "type") === "Unconfined") look.say(at(path, key), "it would take the program's confinement away");
  const labels = treeAt(security, "seLinuxOptions");
  if (!seLinuxTypes.has(own(labels, "type")) || own(labels, "user") !== undefined || own(labels, "role") !== undefined)
    look.say(at(path, "seLinuxOptions"), "it would take the program's confinement away");
  if (isSet(own(treeAt(security, "windowsOptions"), "hostProcess")))
    look.say(`${at(path, "windowsOptions")}.hostProcess`, "it would run on the node itself");
}

function lookAtVolume(look: Look, volume: Tree, path: Path): void {
  for (const kind of Object.keys(volume))
    if (kind === "hostPath") look.say(at(path, kind), "it would reach into the files of its node");
    else if (kind !== "name" && !volumeKinds.has(kind))
      look.say(
        at(path, kind),
        `a pod may have volumes of ${[...volumeKinds].join(", ")}`,
        "Use a volume of the stack, or a claim that is made for it.",
      );
  for (const source of treesAt(treeAt(volume, "projected"), "sources"))
    if (own(source, "serviceAccountToken") !== undefined)
      look.say(`${at(path, "projected")}.sources.serviceAccountToken`, "a program gets no rights in the cluster");
}

function lookAtContainer(look: Look, container: Tree, profile: Exclude<Profile, "privileged">, path: Path): void {
  const security = treeAt(container, "securityContext");
  const inSecurity = at(path, "securityContext");
  if (isSet(own(security, "privileged"))) look.say(at(inSecurity, "privileged"), "it would have all rights of its node");
  lookAtContext(look, security, inSecurity);
  const mount = own(security, "procMount");
  if (mount !== undefined && mount !== "Default") look.say(at(inSecurity, "procMount"), "it would see what the runtime hides of its node");
  const asked = treeAt(security, "capabilities");
  for (const name of listAt(asked, "add"))
    if (!capabilities[profile].has(name)) look.say(`${at(inSecurity, "capabilities")}.add[${String(name)}]`, "it adds a right of root's");
  for (const port of treesAt(container, "ports"))
    if (isSet(own(port, "hostPort")))
      look.say(`${at(path, "ports")}[${String(own(port, "containerPort"))}].hostPort`, "it would take a port of its node");
  lookAtHandlers(look, container, path);
  if (profile !== "restricted") return;
  if (own(security, "allowPrivilegeEscalation") !== false)
    look.say(at(inSecurity, "allowPrivilegeEscalation"), "the profile `restricted` gains no rights", needsBaseline);
  if (own(security, "runAsNonRoot") === false || own(security, "runAsUser") === 0)
    look.say(
      at(inSecurity, own(security, "runAsUser") === 0 ? "runAsUser" : "runAsNonRoot"),
      "the profile `restricted` runs nothing as root",
      needsBaseline,
    );
  if (!listAt(asked, "drop").includes("ALL"))
    look.say(`${at(inSecurity, "capabilities")}.drop`, "the profile `restricted` drops ALL of root's rights", needsBaseline);
}

/** A probe or hook that names a host makes the node ask where the pod itself may not. */
function lookAtHandlers(look: Look, container: Tree, path: Path): void {
  const handlers = [
    ...["livenessProbe", "readinessProbe", "startupProbe"].map((key): [Path, Tree] => [at(path, key), treeAt(container, key)]),
    ...["postStart", "preStop"].map((key): [Path, Tree] => [
      `${at(path, "lifecycle")}.${key}`,
      treeAt(treeAt(container, "lifecycle"), key),
    ]),
  ];
  for (const [place, handler] of handlers)
    for (const kind of ["httpGet", "tcpSocket"])
      if (isSet(own(treeAt(handler, kind), "host")))
        look.say(`${at(place, kind)}.host`, "the node would ask another host in the pod's stead", "Remove it: the pod itself is asked.");
}

function isSeccomp(security: Tree): boolean {
  const type = own(treeAt(security, "seccompProfile"), "type");
  return type === "RuntimeDefault" || type === "Localhost";
}

/** Anything but what Kubernetes takes for nothing; what is of the wrong type is refused too. */
const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== false && value !== 0 && value !== "";
function treeAt(tree: Tree, key: string): Tree {
  const value = own(tree, key);
  return isTree(value) ? value : {};
}
function listAt(tree: Tree, key: string): readonly unknown[] {
  const value = own(tree, key);
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}
const treesAt = (tree: Tree, key: string): readonly Tree[] => listAt(tree, key).filter(isTree);
