// SPDX-License-Identifier: Apache-2.0
// The version of these headers. Everything public lives in `namespace sipheal::inline v0_1`, so
// that two minor versions in one process do not share symbols.
#pragma once

#define SIPHEAL_VERSION_MAJOR 0
#define SIPHEAL_VERSION_MINOR 1
#define SIPHEAL_VERSION_PATCH 0
#define SIPHEAL_VERSION "0.1.0"
