import { COMMIT_CALLS, describeKills, KERNEL_CALLS } from '../support/kill.ts';

for (const command of ['create', 'remove', 'adopt', 'warm', 'plain'])
  describeKills('netns', command, [...KERNEL_CALLS, ...COMMIT_CALLS]);
