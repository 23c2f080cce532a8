// What a child of the edge's primary has to say: lines of JSON on its stderr, which is the edge's log.

export type Say = (event: string, fields: Readonly<Record<string, unknown>>) => void;

export function sayAs(name: "agent" | "collector"): Say {
  return (event, fields) => {
    process.stderr.write(`${JSON.stringify({ name, level: 40, time: Date.now(), msg: event, ...fields })}\n`);
  };
}
