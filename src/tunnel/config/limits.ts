/** What a config may hold: far more than anybody has, and little enough to be read at once. */

/** bytes, as UTF-8 */
export const FILE_MAX = 1_048_576;
export const LINES_MAX = 50_000;
export const PEERS_MAX = 1000;
/** of all peers */
export const ALLOWED_IPS_MAX = 16_384;
export const ADDRESSES_MAX = 256;
/** servers and domains */
export const DNS_MAX = 64;
/** of one kind */
export const HOOKS_MAX = 64;
/** characters of one */
export const HOOK_MAX = 16_384;
export const SPLITS_MAX = 1024;
export const EXCLUDES_MAX = 256;
/** of what is left when excludes are taken out */
export const ROUTES_MAX = 32_768;
