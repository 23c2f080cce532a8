// Where Buildah runs: in a view of the machine that has the system's programs, one stack's store and one build's folder, and nothing else of Berth's. What a
// Dockerfile can make Buildah itself open (its transports, its mounts) is opened there. The end of its first process is the end of everything in it.
import { readFileSync } from "node:fs";
import { findOnPath } from "../../os/programs.ts";

export interface Box {
  /** A folder of this build alone, `/build` inside. It has an empty folder `root`. */
  readonly folder: string;
  /** Of the build's stack, `/store` inside. */
  readonly store: string;
  /** Images that were made elsewhere on this machine: a storage of the same driver, read-only, `/bases` inside. */
  readonly bases: string | undefined;
  /** The program that gives steps a network of their own; undefined: they have the machine's. */
  readonly slirp: string | undefined;
}

/** Of what runs in a box; not those of whoever starts it. */
export const boxPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Credentials of registries, as they come by stdin: in memory, and gone with the box. */
export const authFile = "/run/auth.json";
/** What is written there is what a box prints, when that comes apart: Buildah writes an archive to no pipe that it did not open itself. */
export const archiveFile = "/run/archive";
const netFile = "/run/net";
/** For steps in a network of their own: where that is, and who answers names there. */
export const ownNetwork: readonly string[] = ["--network", `ns:${netFile}`, "--dns", "10.0.2.3"];

const programs = "usr bin sbin lib lib32 lib64 libx32 opt nix gnu";
/** What Buildah and the programs below it read; no passwords, no keys. */
const settings =
  "alternatives ca-certificates containers crypto-policies group hosts ld.so.cache ld.so.conf ld.so.conf.d localtime nsswitch.conf passwd pki protocols resolv.conf services ssl subgid subuid";

const script = `set -e
umask 022
build=$1 store=$2 bases=$3 slirp=$4 words=$5; shift 5
root=$build/root
mount -t tmpfs -o mode=755 berth-build "$root"
cd "$root"
mkdir -p etc proc sys dev tmp var/tmp run/lock root build store bases old
chmod 1777 tmp var/tmp
for name in ${programs}; do
  if [ -L "/$name" ]; then cp -P "/$name" "$name"
  elif [ -d "/$name" ]; then mkdir "$name"; mount --rbind "/$name" "$name"; mount -o remount,bind,ro "$name"
  fi
done
for name in ${settings}; do if [ -e "/etc/$name" ]; then cp -RL "/etc/$name" etc/ 2>/dev/null || true; fi; done
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount --bind "$build" build
mount --bind "$store" store
if [ -n "$bases" ]; then mount --bind "$bases" bases; mount -o remount,bind,ro bases; fi
pivot_root . old
cd /
umount -l old
rmdir old
umask 077
if [ "$words" = auth ]; then cat > ${authFile}; fi
umask 022
exec < /dev/null
if [ -n "$slirp" ]; then
  unshare --net sh -c 'touch ${netFile} && mount --bind /proc/self/ns/net ${netFile} && echo > /run/held; exec sleep 2147483647' > /dev/null 2>&1 &
  while [ ! -e /run/held ]; do sleep 0.01; done
  "$slirp" --configure --mtu=65520 --disable-host-loopback --ready-fd=3 --netns-type=path ${netFile} tap0 3> /run/ready > /dev/null 2>&1 &
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ -s /run/ready ] && break; sleep 0.05; done
fi
if [ "$1" = merged ]; then shift; exec "$@" 2>&1; fi
shift
mkfifo ${archiveFile}
cat ${archiveFile} & reading=$!
set +e
"$@"
code=$?
[ $code = 0 ] && wait $reading
exit $code`;

/** `output`: `merged` when what it says and what it complains of come as one, in their order. `auth`: the credentials' file comes by stdin. */
export function boxed(
  box: Box,
  command: readonly string[],
  input: { readonly auth: boolean; readonly output: "merged" | "apart" },
): string[] {
  const namespaces = ["--fork", "--pid", "--kill-child=KILL", "--mount", "--ipc", "--uts", "--propagation", "slave"];
  const given = [box.folder, box.store, box.bases ?? "", box.slirp ?? "", input.auth ? "auth" : ""];
  return ["unshare", ...namespaces, "sh", "-c", script, "sh", ...given, input.output, ...command];
}

/** Files that Buildah reads its settings from, by their names in the build's folder. */
export function settingsOf(
  storage: { readonly driver: string; readonly bases: boolean },
  plainHttp: readonly string[],
): Record<string, string> {
  const more = storage.bases ? `[storage.options]\nadditionalimagestores = ["/bases"]\n` : "";
  return {
    "storage.conf": `[storage]\ndriver = "${storage.driver}"\ngraphroot = "/store/root"\nrunroot = "/run/store"\n${more}`,
    "registries.conf": registries(readIfThere("/etc/containers/registries.conf"), plainHttp),
    "containers.conf": `[containers]\n${limits()}[engine]\n${runtime()}cgroup_manager = "cgroupfs"\nevents_logger = "none"\n`,
    // What is ignored never came here; without this, the folder's own .dockerignore would be asked although another one wins.
    ignore: "# decided before\n",
  };
}

/** The machine's own, except that names without a host are Docker's, as everybody who writes a Dockerfile means them, unless this machine says otherwise. */
function registries(own: string, plainHttp: readonly string[]): string {
  const searched = /^\s*unqualified-search-registries\s*=/m.test(own)
    ? ""
    : `unqualified-search-registries = ["docker.io"]\nshort-name-mode = "disabled"\n`;
  return [searched, own, ...plainHttp.map((host) => `\n[[registry]]\nlocation = ${JSON.stringify(host)}\ninsecure = true\n`)].join("");
}

/** Above what this process may have itself, a container does not start. */
function limits(): string {
  const text = readFileSync("/proc/self/limits", "utf8");
  const hard = (name: string): string[] => {
    const found = new RegExp(`^${name} +\\S+ +(\\d+) `, "m").exec(text)?.[1];
    return found === undefined ? [] : [found];
  };
  const all = [
    ...hard("Max open files").map((most) => `nofile=${most}:${most}`),
    ...hard("Max processes").map((most) => `nproc=${most}:${most}`),
  ];
  return `default_ulimits = ${JSON.stringify(all)}\n`;
}

function runtime(): string {
  const found = ["crun", "runc"].find((name) => findOnPath(name, boxPath) !== undefined);
  return found === undefined ? "" : `runtime = "${found}"\n`;
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // A machine without it has nothing to say of registries.
    return "";
  }
}

/** What a build needs and this machine does not have, in words. `program`: Buildah's own, when it was found. */
export function missingForBuildah(program: string | undefined): string[] {
  const within = (name: string): boolean => findOnPath(name, boxPath) !== undefined;
  return [
    ...(process.getuid?.() === 0 ? [] : ["root's rights"]),
    ...(program === undefined ? ["the program buildah"] : []),
    ...["unshare", "mount", "pivot_root"].filter((name) => !within(name)).map((name) => `the program ${name}`),
    ...(within("crun") || within("runc") ? [] : ["crun or runc"]),
  ];
}
