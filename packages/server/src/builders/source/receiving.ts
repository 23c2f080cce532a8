// The folder in which sources are fetched and sorted before they are stored: made here alone, so that its mode does not depend on who comes first.
import { chmod, mkdir } from "node:fs/promises";

/**
 * Makes the folder, and gives it the right mode when it is there. What lies in it is closed to others by its own mode and its name is not to be guessed;
 * as root the folder itself can be passed, because git runs as a user of its own.
 */
export async function makeReceiving(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, process.getuid?.() === 0 ? 0o711 : 0o700);
}
