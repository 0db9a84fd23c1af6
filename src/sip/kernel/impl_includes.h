// SPDX-License-Identifier: Apache-2.0
// What impl.inc needs; apart from it, since that is included within a namespace.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "sip/kernel/header_names.h"
#include "sip/kernel/kernel.h"
#include "sip/kernel/method_table.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"
