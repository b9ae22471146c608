/** Rows that one call may ask for. */
export const LIMITS = { page: 500, sweep: 500, facts: 500 } as const;
