/** An object's JSON without its end: a script adds the time and closes it, and so never has to parse or quote anything. */
export function openObjectText(value: object): string {
  return JSON.stringify(value).slice(0, -1);
}

/** Members of an object, for a script to put between others. */
export function membersText(value: object): string {
  return JSON.stringify(value).slice(1, -1);
}
