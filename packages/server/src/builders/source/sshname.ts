// ssh refuses to run for a uid without an entry in the machine's list of users, as in a container with a random uid. Such a user gets one that only
// its ssh sees. Must never be used as root, who picks another user instead.
import { readFile } from "node:fs/promises";

/**
 * Words that go before `ssh …`, so that it finds a name for this process's user: none where it has one. `put` writes a file and gives its path.
 * Where the machine allows no user namespace, ssh says by itself what is missing.
 */
export async function naming(
  uid: number,
  gid: number,
  put: (name: string, content: string, mode: number) => Promise<string>,
): Promise<string[]> {
  const users = await readFile("/etc/passwd", "utf8");
  if (uid === 0 || users.split("\n").some((line) => line.split(":")[2] === String(uid))) return [];
  const passwd = await put("passwd", `${users.trimEnd()}\nberth:x:${uid}:${gid}::/:/bin/false\n`, 0o600);
  // The right to mount ends before ssh begins.
  const inside = 'mount -n --bind "$1" /etc/passwd && shift && exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"';
  return ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c", inside, "sh", passwd];
}
