// Programs that claim to be the next edge and are not, for tests of handing over.

/** The text of a program that says that it is prepared, and then does what a broken build does. */
export function runEdgeStandIn(_how: "ends when it is to take over"): string {
  return `process.send({ type: "prepared" });
process.on("message", () => { process.exit(3); });
`;
}

/**
 * The text of a program that is a router to its primary and serves nobody. It reads what to do from the file `how` beside it: `serves`, `fails` (it cannot listen),
 * `hangs` (it never accepts), `ends` (before it accepts) or `breaks` (it says that it is broken while it starts, and whenever it serves). It notes its pid in `started`.
 * On SIGUSR2 it says ten times in a row that it is broken.
 */
export function routerStandIn(): string {
  return `import { appendFileSync, readFileSync } from "node:fs";
const how = readFileSync(new URL("./how", import.meta.url), "utf8");
appendFileSync(new URL("./started", import.meta.url), process.pid + "\\n");
const broken = () => { for (let time = 0; time < 10; time += 1) process.send({ type: "broken", reason: "told to" }); };
process.on("SIGUSR2", broken).on("disconnect", () => { process.exit(); });
process.on("message", (message) => {
  if (message.type === "retire") process.exit();
  if (message.type !== "init") return;
  if (how === "fails") process.send({ type: "failed", code: "EADDRINUSE", message: "127.0.0.1:1" });
  if (how === "ends") process.exit(1);
  if (how === "breaks") broken();
  if (how !== "serves" && how !== "breaks") return;
  process.send({ type: "listening" });
  if (how === "breaks") broken();
});
process.send({ type: "hearing" });
`;
}
