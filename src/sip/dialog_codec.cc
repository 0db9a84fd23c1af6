// SPDX-License-Identifier: Apache-2.0
// The format: "SIPD", one version byte, the number of fields as varint, then for each field a tag
// byte, the size of its payload as varint, the payload, and 16 bits of its hash. Fields may come in
// any order; unknown tags are skipped.
#include "sipheal/sip/dialog_codec.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "sip/codec_fields.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

using codec::FieldCodec;

constexpr std::string_view kMagic = "SIPD";
// Version 1 differs in the hash alone, which went byte by byte.
constexpr std::uint8_t kVersion = 2;

std::uint16_t Check(std::uint8_t version, std::uint8_t tag, std::string_view payload) {
  if (version == 1) return static_cast<std::uint16_t>(HashBytes(payload, tag));
  constexpr std::uint64_t kPrime = 0x9fb21c651e98df25u;
  std::uint64_t hash = (payload.size() << 8 | tag) * kPrime;
  auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;
  };
  std::size_t at = 0;
  for (; at + 8 <= payload.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, payload.data() + at, 8);
    // The same on every machine: the first byte is the lowest.
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    mix(word);
  }
  std::uint64_t last = 0;
  for (; at < payload.size(); ++at) last = last << 8 | static_cast<unsigned char>(payload[at]);
  mix(last);
  return static_cast<std::uint16_t>(hash);
}

void SetToDefault(const FieldCodec& field, DialogState& dialog) {
  std::string bytes;
  {
    codec::ByteWriter writer(&bytes);
    field.put(writer, DialogState());
  }
  codec::ByteReader reader(bytes);
  field.get(reader, dialog);
}

}  // namespace

void EncodeDialog(const DialogState& dialog, std::string* bytes) {
  codec::ByteWriter out(bytes);
  out.Bytes(kMagic);
  out.Number(kVersion);
  out.Number(codec::FieldsWritten());
  for (const FieldCodec& field : codec::Fields()) {
    if (field.written == codec::Written::kByOlder) continue;
    out.Number(field.tag);
    const std::size_t begin = out.BeginText();
    field.put(out, dialog);
    const std::string_view payload = out.EndText(begin);
    out.Number(Check(kVersion, field.tag, payload));
  }
}

std::string EncodeDialog(const DialogState& dialog) {
  std::string bytes;
  EncodeDialog(dialog, &bytes);
  return bytes;
}

absl::StatusOr<DecodedDialog> DecodeDialog(std::string_view bytes) {
  if (bytes.substr(0, kMagic.size()) != kMagic || bytes.size() < kMagic.size() + 2) {
    return absl::InvalidArgumentError(
        "stored dialog not read: the bytes are no encoded dialog: drop the record");
  }
  const auto version = static_cast<std::uint8_t>(bytes[kMagic.size()]);
  if (version == 0 || version > kVersion) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "stored dialog not read: its format is %d, this reads 1 to %d: update sipheal", version,
        kVersion));
  }
  codec::ByteReader reader(bytes.substr(kMagic.size() + 1));
  const std::uint64_t count = reader.Below(255);
  DecodedDialog result;
  bool seen[256] = {};
  bool met[256] = {};
  std::uint64_t read = 0;
  while (read < count && reader.ok() && !reader.empty()) {
    const auto tag = static_cast<std::uint8_t>(reader.Below(255));
    const std::string_view payload = reader.Text();
    const std::uint64_t check = reader.Number();
    if (!reader.ok()) break;
    ++read;
    met[tag] = true;
    const auto fields = codec::Fields();
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [tag](const FieldCodec& known) { return known.tag == tag; });
    if (field == fields.end()) {
      ++result.unknown_fields;
      continue;
    }
    if (seen[tag] || check != Check(version, tag, payload)) continue;
    codec::ByteReader value(payload);
    field->get(value, result.dialog);
    seen[tag] = value.ok();
    // A field that breaks half-way leaves nothing behind.
    if (!value.ok()) SetToDefault(*field, result.dialog);
  }
  for (const FieldCodec& field : codec::Fields()) {
    if (seen[field.tag]) continue;
    if (field.written != codec::Written::kByAll && !met[field.tag] && read == count) continue;
    ++result.damaged_fields;
    if (!field.needed) continue;
    result.dialog.missing.push_back(*field.needed);
    if (field.tag == codec::kKind) result.dialog.missing.push_back(Field::kEnd);
  }
  std::vector<Field>& missing = result.dialog.missing;
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  if (result.dialog.call_id.empty() || (!seen[codec::kLocal] && !seen[codec::kRemote])) {
    return absl::DataLossError(
        "stored dialog not read: Call-ID and tags are damaged: the dialog cannot be told from "
        "others");
  }
  return result;
}

}  // namespace sipheal::inline v0_1::sip
