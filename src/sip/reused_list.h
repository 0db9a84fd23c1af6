// SPDX-License-Identifier: Apache-2.0
// A list whose entries outlive its being emptied, with the memory that they hold.
#pragma once

#include <cstddef>
#include <vector>

namespace sipheal::inline v0_1::sip {

template <typename T>
class ReusedList {
 public:
  // One entry more, as it was left: the caller sets all of it. Moves the others.
  T& Add() {
    if (size_ == entries_.size()) entries_.emplace_back();
    return entries_[size_++];
  }
  void Clear() { size_ = 0; }
  // Gives up the memory of all but `most`.
  void Trim(std::size_t most) {
    if (entries_.size() > most) entries_.resize(most);
    if (size_ > most) size_ = most;
  }

  std::size_t size() const { return size_; }
  T* begin() { return entries_.data(); }
  T* end() { return entries_.data() + size_; }
  T& operator[](std::size_t i) { return entries_[i]; }

 private:
  std::vector<T> entries_;
  std::size_t size_ = 0;
};

}  // namespace sipheal::inline v0_1::sip
