// SPDX-License-Identifier: Apache-2.0
// Marks what a shared build of sipheal exports; everything else is hidden.
#pragma once

#define SIPHEAL_EXPORT __attribute__((visibility("default")))
