// Amounts as a Kubernetes API writes them: a number and a unit, in whichever of the equal forms it likes. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

const decimal: Readonly<Record<string, number>> = { n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };
const binary: Readonly<Record<string, number>> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50 };

function amount(text: string): number {
  const [, number = "0", unit = ""] = /^(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)([A-Za-z]*)$/.exec(text) ?? [];
  return Number(number) * (decimal[unit] ?? binary[unit] ?? 0);
}

/** `250m` -> 0.25. 0 for what is none. */
export const cores = amount;
/** `64Mi` -> 67108864. 0 for what is none. */
export const bytes = amount;
