// Which routers live in a run folder, whoever started them: each leaves a file with its identity. A primary that starts learns from it whom it has to take over.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "../os/files.ts";
import { identify, isSameProcess } from "../os/process.ts";
import type { RouterRole } from "./ipc.ts";

export interface RegisteredRouter {
  readonly pid: number;
  readonly role: RouterRole;
}

const folderOf = (runDir: string): string => join(runDir, "routers");

export function register(runDir: string, role: RouterRole): void {
  const folder = folderOf(runDir);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeWhole(join(folder, String(process.pid)), `${lifeOf(process.pid)} ${role}`);
}

export function unregister(runDir: string): void {
  rmSync(join(folderOf(runDir), String(process.pid)), { force: true });
}

/** Those that live; the files of others are removed. */
export function livingRouters(runDir: string): RegisteredRouter[] {
  const folder = folderOf(runDir);
  return namesIn(folder).flatMap((name): RegisteredRouter[] => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    const [life = "", role] = textOf(join(folder, name)).split(" ");
    if (livesAs(pid, life)) return [{ pid, role: role === "leaving" ? "leaving" : "accepting" }];
    rmSync(join(folder, name), { force: true });
    return [];
  });
}

/** Start and boot of a process: its pid in another life differs. */
function lifeOf(pid: number): string {
  const identity = identify(pid);
  return identity === undefined ? "" : `${identity.start}@${identity.boot}`;
}

function livesAs(pid: number, life: string): boolean {
  const [start = "", boot = ""] = life.split("@");
  return start !== "" && isSameProcess({ pid, start, boot });
}

/** A process as this edge's files name it. */
export const identityText = (pid: number): string => `${String(pid)} ${lifeOf(pid)}`;

/** Whether the process that such a text names runs. */
export function identityLives(text: string): boolean {
  const [pid = "", life = ""] = text.split(" ");
  return livesAs(Number(pid), life);
}

/** Notes which process is on its way to become the primary, so that nobody starts another one beside it. */
export function noteSuccessor(runDir: string, pid: number): void {
  writeFileSync(join(runDir, "successor"), identityText(pid), { mode: 0o600 });
}

export function successorLives(runDir: string): boolean {
  return identityLives(textOf(join(runDir, "successor")));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // no router yet
  }
}

export function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // gone meanwhile
  }
}
