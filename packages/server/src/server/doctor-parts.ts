// What `berth doctor` says of the parts that answer for themselves: edge, supervisor, disk, tools. Pure: the answers come as arguments.
import type { Capabilities } from "../engines/engine.ts";
import type { Hello } from "../edge/ipc.ts";
import { keepingSentences } from "./keeping.ts";
import { ok, type Found } from "./doctor-check.ts";

/** `version`: the server's. */
export function edgeState(hello: Pick<Hello, "router" | "pid" | "version" | "workers" | "agent" | "collector">, version: string): Found {
  const at = `${hello.router.host}:${String(hello.router.port)}`;
  const down = [
    ...(hello.workers.length === 0 ? ["no router"] : []),
    ...(hello.agent === null ? ["no supervisor of instances"] : []),
    ...(hello.collector === null ? ["no log collector"] : []),
  ];
  if (down.length > 0)
    return {
      status: "failed",
      found: `answers on ${at}, pid ${String(hello.pid)}, but has ${down.join(" and ")}`,
      next: "It starts what is missing again by itself; when this stays, `berth edge upgrade` replaces all of it, and its log says why.",
    };
  if (hello.version !== version)
    return {
      status: "warning",
      found: `is version ${hello.version}, the server is ${version}`,
      why: "They understand each other, but what the newer one brings is not there yet.",
      next: "`berth edge upgrade` replaces it without losing a connection.",
    };
  return ok(`answers on ${at}, pid ${String(hello.pid)}, ${String(hello.workers.length)} router(s)`);
}

export function engineState(found: Capabilities): Found {
  if (!found.reachable)
    return {
      status: "failed",
      found: `the supervisor of instances does not answer: ${found.notices[0]?.params["reason"] ?? "no reason is known"}`,
      next: "The edge starts it again by itself when it ends; when this stays, `berth edge upgrade` replaces it. Instances run on meanwhile.",
    };
  const held = Object.entries(found.limits).flatMap(([name, holds]) => (holds ? [name] : []));
  const lacks = keepingSentences(found);
  const text = `isolation by ${found.isolation.join(", ")}, limits of ${held.join(", ") || "nothing"}, volumes by ${found.volumes}`;
  return lacks.length === 0 ? ok(text) : { status: "warning", found: text, next: lacks.join(" ") };
}

/** Of the file system that the home is on: bytes and files that are free, and how many there can be. */
export interface Room {
  readonly bytes: number;
  readonly files: number;
  /** 0: this file system has no such limit. */
  readonly mostFiles: number;
}

const scarce = 1e9;
/** Below this PostgreSQL may not be able to write what it needs to start again. */
const tooLittle = 200e6;

export function diskState({ bytes, files, mostFiles }: Room, home: string): Found {
  const text = `${bytes >= scarce ? `${(bytes / 1e9).toFixed(1)} GB` : `${String(Math.round(bytes / 1e6))} MB`} free in ${home}`;
  const next = `Free some space there: \`du -xh --max-depth=2 ${home} | sort -h | tail\` shows what takes most.`;
  if (bytes < tooLittle) return { status: "failed", found: text, next };
  if (mostFiles > 0 && files < 1_000)
    return {
      status: "failed",
      found: `${text}, but room for ${String(files)} more files only`,
      next: `Remove files there: \`du --inodes -x --max-depth=2 ${home} | sort -n | tail\` shows where most are.`,
    };
  return bytes < scarce ? { status: "warning", found: text, next } : ok(text);
}

export function toolState(name: string, version: string | undefined): Found {
  return version === undefined ? { status: "warning", found: "not found", next: `Install ${name} on the server's machine.` } : ok(version);
}
