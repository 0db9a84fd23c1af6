// SPDX-License-Identifier: Apache-2.0
// The texts of one call, each kept once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {

// Reference to a pooled text; 0: none.
using TextId = std::uint16_t;

class TextPool {
 public:
  static constexpr std::size_t kMaxBytes = 60'000;

  // 0 for an empty text, and when the pool is full. `likely` is what the text often is.
  TextId Intern(std::string_view text, TextId likely = 0) {
    if (text.empty()) return 0;
    if (likely != 0 && SameText(Get(likely), text)) return likely;
    return Look(text);
  }
  // The same for a text that is known not to be in the pool; costs no more than the text.
  TextId Append(std::string_view text);
  // Whether it can be appended.
  bool Fits(std::string_view text) const {
    return size_ + sizeof(std::uint16_t) + text.size() <= kMaxBytes;
  }
  std::string_view Get(TextId id) const {
    if (id == 0) return {};
    std::uint16_t size;
    std::memcpy(&size, bytes_.data() + id - 1, sizeof size);
    return {bytes_.data() + id - 1 + sizeof size, size};
  }
  bool full() const { return full_; }
  std::string_view bytes() const { return {bytes_.data(), size_}; }
  // Replaces everything by what bytes() of another pool gave.
  void Assign(std::string_view bytes);
  std::size_t size() const { return size_; }

 private:
  // Linear in the pool, unless the text is seen to be new by its kind.
  TextId Look(std::string_view text);
  // Whether kinds_ is of all texts, which it is made when that pays.
  bool AreKindsNoted();
  void NoteKinds();
  void NoteKind(unsigned kind) { kinds_[kind / 64] |= std::uint64_t{1} << kind % 64; }
  void Reserve(std::size_t size);

  // Entries of a 16-bit size and the text; an id is the entry's offset + 1.
  std::vector<char> bytes_;  // those behind size_ are room
  std::size_t size_ = 0;
  bool full_ = false;
  // Which of 256 kinds of texts are in the pool, as far as its first noted_ bytes; the kind is of a
  // text's size and of some of its bytes.
  std::array<std::uint64_t, 4> kinds_{};
  std::size_t noted_ = 0;
  unsigned walks_ = 0;  // past all texts, since Assign
};

// Moves the texts that are still used into another pool, in which no text has to be looked up: a
// flood makes room for each of its messages.
class TextMover {
 public:
  explicit TextMover(const TextPool& from) : from_(from), moved_(from.size() + 1) {}

  TextId Move(TextId id) {
    if (id == 0) return 0;
    if (moved_[id] == 0) moved_[id] = used_.Append(from_.Get(id));
    return moved_[id];
  }
  // Replaces the texts of `pool`, which may be the one that they came from.
  void MoveInto(TextPool& pool) const { pool.Assign(used_.bytes()); }

 private:
  const TextPool& from_;
  TextPool used_;
  std::vector<TextId> moved_;  // by the old id; 0: not yet
};

}  // namespace sipheal::inline v0_1::sip
