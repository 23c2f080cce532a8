// Where one resource uses the store of another, and why. The list may shrink; the check says when an entry is not needed any more.

/** `from -> to` and the reason. */
export const sharedStores: ReadonlyMap<string, string> = new Map([
]);
