/** What has nft(8) say what {@link instructions} reads. */
export const LIST = ['--debug=netlink', 'list', 'ruleset'] as const;

/**
 * The instructions of each rule and the elements of each set, without handles and comments. nft(8) adds by itself
 * checks of the protocol, and to ranges the end of one before the first.
 */
export function instructions(listed: string): string[] {
  const objects = listed
    .replaceAll(/ {2}\[ meta load (?:nfproto|l4proto|protocol|iiftype) => reg 1 \]\n {2}\[ cmp eq reg 1 \S+ \]\n/g, '')
    .replaceAll(/ {2}\[ payload load 2b @ link header \+ 12 => reg 1 \]\n {2}\[ cmp eq reg 1 \S+ \]\n/g, '')
    .replaceAll(/\telement 00000000(?: 00000000){0,3} {2}: 1 \[end\]\n/g, '')
    .split(/^(?=(?:inet|bridge) )/m)
    .map((object) => object.replace(/^((?:inet|bridge) \S+ \S+).*$/m, '$1').split(/^table /m)[0] ?? '');
  // a set gives its elements in an order of its own, which a seed decides
  return objects.map((object) =>
    object.includes('@') && !object.includes('  [') ? sortedLines(object) : object.trim(),
  );
}

function sortedLines(text: string): string {
  return text.trim().split('\n').toSorted().join('\n');
}
