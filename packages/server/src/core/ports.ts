// Where programs listen that have a network of their own. Pure.

/** Where a program listens that was told no port, and the first of those that have several. */
const firstPort = 8080;

/** Port name -> the number that its program listens on: its own, or the next free one from 8080 on. */
export function portNumbers(ports: readonly { readonly name: string; readonly port?: number | undefined }[]): Record<string, number> {
  const own = new Set(ports.flatMap((port) => port.port ?? []));
  const numbers: Record<string, number> = {};
  let next = firstPort;
  for (const { name, port } of ports) {
    if (port === undefined) while (own.has(next)) next += 1;
    numbers[name] = port ?? next;
    if (port === undefined) next += 1;
  }
  return numbers;
}
