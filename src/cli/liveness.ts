/** How a table says whether a host is alive; undefined where that is not known, as the registry is away. */
export function livenessWord(isAlive: boolean | undefined): string {
  if (isAlive === undefined) return 'unknown';
  return isAlive ? 'alive' : 'lost';
}
