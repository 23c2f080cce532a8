// Messages between the edge's primary and its agent and collector (node:child_process IPC). They carry facts and orders, never requests' content.
// Both children are forked with the path of the edge's config file as their only argument; a `disconnect` of the channel means that the primary is gone.

/** What the agent knows about instances. `ready` = running, and startup and readiness probes pass. */
export interface ReadinessMessage {
  readonly type: "readiness";
  readonly instances: readonly { readonly id: string; readonly ready: boolean }[];
  /** true: this is everything there is, an instance that is not named is not ready. false: only these changed. */
  readonly full: boolean;
}

/** The child serves its socket and took up its work. Sent once. */
export interface StartedMessage {
  readonly type: "started";
}

/** Agent or collector -> primary. Until an agent (re)started and sent its first `readiness`, the last known readiness stays in force. */
export type ChildMessage = ReadinessMessage | StartedMessage;

/** Primary -> agent or collector: end in good order (instances run on). The child exits by itself; it is killed after `shutdownGrace` of the config. */
export interface ShutdownMessage {
  readonly type: "shutdown";
}
export type PrimaryMessage = ShutdownMessage;

/** Narrows what arrived over IPC; anything else (from another version) is undefined and to be ignored. */
export function childMessage(value: unknown): ChildMessage | undefined {
  if (typeof value !== "object" || value === null || !("type" in value)) return undefined;
  if (value.type === "started") return { type: "started" };
  if (value.type !== "readiness" || !("instances" in value) || !Array.isArray(value.instances)) return undefined;
  const instances: { id: string; ready: boolean }[] = [];
  for (const item of value.instances as unknown[]) {
    if (typeof item === "object" && item !== null && "id" in item && "ready" in item && typeof item.id === "string")
      instances.push({ id: item.id, ready: item.ready === true });
  }
  return { type: "readiness", instances, full: "full" in value && value.full === true };
}

/** Narrows a message of the primary. */
export function primaryMessage(value: unknown): PrimaryMessage | undefined {
  return typeof value === "object" && value !== null && "type" in value && value.type === "shutdown" ? { type: "shutdown" } : undefined;
}

/** Calls back when the primary is gone, also when it went before anybody asked: a child that starts slowly must not outlive it unseen. */
export function onPrimaryGone(end: () => void): void {
  process.on("disconnect", end);
  // undefined: started by hand, with no primary to miss.
  if ((process.connected as boolean | undefined) === false) setImmediate(end);
}

/** Calls back when this child has to end in good order: by a signal, by its primary's word, or because the primary is gone and the next one starts its own. */
export function onEnd(end: () => void): void {
  process.on("SIGTERM", end).on("SIGINT", end);
  if (process.send === undefined) return;
  process.on("message", (value) => {
    if (primaryMessage(value) !== undefined) end();
  });
  onPrimaryGone(end);
}

/** Sends to the primary; without a channel (the child was started by hand) or after it closed, nothing happens. */
export function sendToPrimary(message: ChildMessage): void {
  if (process.send !== undefined && process.connected) process.send(message, undefined, undefined, () => undefined);
}
