// Keeps the access log within its bound: a file that is full is moved aside and the oldest is deleted. Writers are told to go on in a new file.
import { rename, rm, stat } from "node:fs/promises";

/** Moves `file` to `file.1`, `file.1` to `file.2`, and so on when it has reached `maxBytes`; true when it did. At most `maxFiles` files exist afterwards. */
export async function rotate(file: string, maxBytes: number, maxFiles: number): Promise<boolean> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size < maxBytes) return false;
  await rm(`${file}.${String(maxFiles - 1)}`, { force: true });
  for (let index = maxFiles - 2; index >= 1; index -= 1)
    await rename(`${file}.${String(index)}`, `${file}.${String(index + 1)}`).catch(ignoreAbsent);
  if (maxFiles > 1) await rename(file, `${file}.1`);
  else await rm(file, { force: true });
  return true;
}

function ignoreAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
