// SPDX-License-Identifier: Apache-2.0
#include "act/lever.h"

const char *lever_result_name(enum lever_result result)
{
	static const char *const names[LEVER_RESULTS] = {
		[LEVER_APPLIED] = "applied",	 [LEVER_ADJUSTED] = "adjusted",
		[LEVER_REFRESHED] = "refreshed", [LEVER_WITHDRAWN] = "withdrawn",
		[LEVER_EXPIRED] = "expired",	 [LEVER_FAILED] = "failed",
		[LEVER_DRY_RUN] = "dry_run",
	};

	return names[result];
}
