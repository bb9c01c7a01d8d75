#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

Slice range_of(const CaseOptions& o) { return {o.integer("start"), o.integer("stop"), o.integer("step")}; }

/// Four numbers a place: 1, position, 0, 0 or 0, start, stop, step.
Tensor indexed(const Tensor& x, const std::vector<std::int64_t>& numbers) {
  std::vector<Index> places;
  for (std::size_t i = 0; i < numbers.size(); i += 4) {
    const std::int64_t* const place = &numbers[i];
    places.push_back(place[0] == 1 ? Index(place[1]) : Index(Slice{place[1], place[2], place[3]}));
  }
  if (places.size() == 1) return x.index({places[0]});
  if (places.size() == 2) return x.index({places[0], places[1]});
  return x.index({places.at(0), places.at(1), places.at(2)});
}

std::vector<Row> creation_rows() {
  return {
      {"zeros", [](In, Opt o) -> Tensors { return {zeros(o.shape(), o.dtype())}; }},
      {"ones", [](In, Opt o) -> Tensors { return {ones(o.shape(), o.dtype())}; }},
      {"full", [](In, Opt o) -> Tensors { return {full(o.shape(), o.number("value"), o.dtype())}; }},
      {"arange",
       [](In, Opt o) -> Tensors {
         return {arange(o.number("start"), o.number("stop"), o.number("step"), o.dtype())};
       }},
      {"eye", [](In, Opt o) -> Tensors { return {eye(o.integer("n"), f64)}; }},
      {"one_hot", [](In in, Opt o) -> Tensors { return {one_hot(in[0], o.integer("classes"))}; }},
  };
}

std::vector<Row> view_rows() {
  return {
      {"reshape",
       [](In in, Opt o) -> Tensors {
         const Tensor x = o.flag("turned") ? in[0].transpose(0, -1) : in[0];
         return {x.reshape(o.integers("shape"))};
       }},
      {"view", [](In in, Opt o) -> Tensors { return {in[0].view(o.integers("shape"))}; }},
      {"flatten", [](In in, Opt o) -> Tensors { return {in[0].flatten(o.axis("first"), o.axis("last"))}; }},
      {"unflatten", [](In in, Opt o) -> Tensors { return {in[0].unflatten(o.axis(), o.integers("parts"))}; }},
      {"permute", [](In in, Opt o) -> Tensors { return {in[0].permute(o.axes())}; }},
      {"transpose",
       [](In in, Opt o) -> Tensors { return {in[0].transpose(o.axis("first"), o.axis("second"))}; }},
      {"t", [](In in, Opt) -> Tensors { return {in[0].t()}; }},
      {"squeeze", [](In in, Opt o) -> Tensors { return {in[0].squeeze(o.axis())}; }},
      {"unsqueeze", [](In in, Opt o) -> Tensors { return {in[0].unsqueeze(o.axis())}; }},
      {"expand", [](In in, Opt o) -> Tensors { return {in[0].expand(o.shape())}; }},
      {"slice", [](In in, Opt o) -> Tensors { return {in[0].slice(o.axis(), range_of(o))}; }},
      {"narrow",
       [](In in, Opt o) -> Tensors {
         return {in[0].narrow(o.axis(), o.integer("start"), o.integer("length"))};
       }},
      {"select", [](In in, Opt o) -> Tensors { return {in[0].select(o.axis(), o.integer("position"))}; }},
      {"operator[]", [](In in, Opt o) -> Tensors { return {in[0][o.integer("position")]}; }},
      {"index", [](In in, Opt o) -> Tensors { return {indexed(in[0], o.integers("places"))}; }},
      {"split", [](In in, Opt o) { return in[0].split(o.integer("size"), o.axis()); }},
      {"chunk", [](In in, Opt o) { return in[0].chunk(o.integer("size"), o.axis()); }},
      {"tril", [](In in, Opt o) -> Tensors { return {in[0].tril(o.integer("diagonal"))}; }},
      {"triu", [](In in, Opt o) -> Tensors { return {in[0].triu(o.integer("diagonal"))}; }},
  };
}

std::vector<Row> index_rows() {
  return {
      {"cat", [](In in, Opt o) -> Tensors { return {cat(in, o.axis())}; }},
      {"stack", [](In in, Opt o) -> Tensors { return {stack(in, o.axis())}; }},
      {"pad", [](In in, Opt o) -> Tensors { return {pad(in[0], o.integers("amounts"), o.number("value"))}; }},
      {"gather", [](In in, Opt o) -> Tensors { return {in[0].gather(o.axis(), in[1])}; }},
      {"scatter_add",
       [](In in, Opt o) -> Tensors { return {scatter_add(in[0], o.axis(), in[1], o.shape())}; }},
      {"index_select", [](In in, Opt o) -> Tensors { return {in[0].index_select(o.axis(), in[1])}; }},
      {"embedding", [](In in, Opt) -> Tensors { return {embedding(in[0], in[1])}; }},
      {"dropout",
       [](In in, Opt o) -> Tensors { return {dropout(in[0], o.number("p"), o.flag("training"))}; }},
  };
}

}  // namespace

std::vector<Row> shape_rows() {
  std::vector<Row> all = creation_rows();
  for (auto* const part : {view_rows, index_rows}) {
    const std::vector<Row> some = part();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace norma::tests::outside
