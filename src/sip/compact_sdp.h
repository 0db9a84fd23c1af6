// SPDX-License-Identifier: Apache-2.0
// AppendCompactSdp (sdp.h) for the hot path.
#pragma once

#include <cstddef>
#include <string_view>

namespace sipheal::inline v0_1::sip {

// Writes the reduced description to `out`, which has room for CompactSdpRoom(body) bytes. Returns
// how many were written.
std::size_t WriteCompactSdp(std::string_view body, char* out);

// No line becomes longer, but for the line end that the last one may lack.
inline std::size_t CompactSdpRoom(std::string_view body) { return body.size() + 1; }

}  // namespace sipheal::inline v0_1::sip
