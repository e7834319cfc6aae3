meta:
  id: unweight
  title: Unweight, compressed model weights
  file-extension: unw
  license: CC0-1.0
  ks-version: '0.10'
  endian: le
  encoding: UTF-8
doc: |
  Structure of an Unweight file, version 1.0. The authority is unweight.md; section numbers refer to it.
  This description locates every part. It checks neither checksums nor the rules of section 10, and decodes no codes.
seq:
  - id: header
    type: file_header
  - id: directory
    type: directory
    size: header.directory_length
  - id: source_section
    size: header.source_length
  - id: extensions
    type: extensions
    size: header.extension_length
instances:
  payload_begin:
    value: (64 + header.directory_length + header.source_length + header.extension_length + 255) / 256 * 256
    doc: P0 of section 3.
  guard:
    pos: header.file_length - 64
    size: 64
types:
  file_header:
    doc: Section 3.1.
    seq:
      - id: magic
        contents: [0x89, UNW, 0x0d, 0x0a, 0x1a, 0x0a]
      - id: major_version
        type: u2
        valid: 1
      - id: minor_version
        type: u2
      - id: tensor_count
        type: u4
      - id: file_length
        type: u8
      - id: directory_length
        type: u8
      - id: source_length
        type: u8
      - id: directory_checksum
        type: u4
      - id: source_checksum
        type: u4
      - id: extension_length
        type: u4
      - id: extension_checksum
        type: u4
      - id: source_kind
        type: u1
        enum: source_kind
      - id: reserved
        contents: [0, 0, 0]
      - id: header_checksum
        type: u4
  extensions:
    doc: Section 3.4.
    seq:
      - id: items
        type: extension
        repeat: eos
  extension:
    seq:
      - id: kind
        type: u4
      - id: length
        type: u4
      - id: contents
        size: length
      - id: padding
        size: (8 - length % 8) % 8
    instances:
      is_critical:
        value: kind >= 0x80000000
  directory:
    doc: Section 3.2.
    seq:
      - id: tensors
        type: tensor(_index)
        size: 40
        repeat: expr
        repeat-expr: _root.header.tensor_count
      - id: dimensions
        type: u8
        repeat: expr
        repeat-expr: '_root.header.tensor_count == 0 ? 0 : tensors[_root.header.tensor_count - 1].dims_end'
      - id: names
        size: '_root.header.tensor_count == 0 ? 0 : tensors[_root.header.tensor_count - 1].name_end'
    instances:
      names_begin:
        value: 64 + 40 * _root.header.tensor_count + 8 * dimensions.size
        doc: Offset in the file.
  tensor:
    doc: An entry of the directory, and the payload that it locates (section 3.5).
    params:
      - id: number
        type: u4
    seq:
      - id: dtype
        type: u1
        enum: dtype
      - id: chunk_size
        type: u1
      - id: reserved1
        contents: [0, 0]
      - id: forms
        type: u4
      - id: payload_end
        type: u8
      - id: tensor_checksum
        type: u4
      - id: palette_checksum
        type: u4
      - id: dims_end
        type: u4
      - id: name_end
        type: u4
      - id: by_name
        type: u4
      - id: reserved2
        contents: [0, 0, 0, 0]
      - id: fields
        type: field(_index)
        size: 0
        repeat: expr
        repeat-expr: 8
    instances:
      code:
        value: dtype.to_i
      dims_begin:
        value: 'number == 0 ? 0 : _root.directory.tensors[number - 1].dims_end'
      name_begin:
        value: 'number == 0 ? 0 : _root.directory.tensors[number - 1].name_end'
      name:
        io: _root._io
        pos: _root.directory.names_begin + name_begin
        size: name_end - name_begin
        type: str
      rank:
        value: dims_end - dims_begin
      shape:
        io: _root._io
        pos: 64 + 40 * _root.header.tensor_count + 8 * dims_begin
        type: dimension(_index)
        repeat: expr
        repeat-expr: rank
      elements:
        value: 'rank == 0 ? 1 : shape[rank - 1].product'
      element_bits:
        value: 'code <= 8 ? 8 : code == 9 ? 4 : code <= 11 ? 6 : code <= 15 ? 16 : code <= 18 ? 32 : 64'
      weight_bytes:
        value: 'code <= 11 ? 1 : code <= 15 ? 2 : code <= 18 ? 4 : 8'
      data_length:
        value: elements * element_bits / 8
        doc: Bytes of the tensor in the source.
      weights:
        value: data_length / weight_bytes
        doc: n
      widths:
        value: 'code <= 3 or code == 9 ? 0x34 : code == 4 or code == 8 ? 0x25 : code == 5 or code == 7 ? 0x34 : code == 6 ? 0x7 : code <= 11 ? 0 : code <= 13 ? 0x3444 : code == 14 ? 0x3435 : code == 15 ? 0x438 : code <= 17 ? 0x34444444 : code == 18 ? 0x853438 : code <= 20 ? 0x78888888 : code == 21 ? 0x88888838 : 0x88788878'
        doc: Bits 4f+3..4f have the width of field f (section 4.1).
      plain_bits:
        value: 8 * weight_bytes - fields[7].taken_bits
        doc: W
      stored_palettes:
        value: fields[7].not_plain
        doc: m
      coded_fields:
        value: fields[7].coded
        doc: q
      chunks:
        value: 'coded_fields == 0 ? 0 : (weights + (1 << chunk_size) - 1) / (1 << chunk_size)'
        doc: c
      plain_length:
        value: (weights * plain_bits + 7) / 8
        doc: P
      blocks:
        value: 'coded_fields == 0 and plain_length > 65536 ? (plain_length + 65535) / 65536 : 0'
        doc: b
      alignment:
        value: 'data_length >= 65536 ? 256 : 16'
        doc: A
      previous_end:
        value: 'number == 0 ? _root.payload_begin : _root.directory.tensors[number - 1].payload_end'
      plain_begin:
        value: (previous_end + alignment - 1) / alignment * alignment
        doc: B
      block_checksums_begin:
        value: (plain_begin + plain_length + 3) / 4 * 4
        doc: C
      palettes_begin:
        value: (block_checksums_begin + 4 * blocks + alignment - 1) / alignment * alignment
        doc: G
      record_ends_begin:
        value: palettes_begin + 16 * stored_palettes
      records_begin:
        value: (record_ends_begin + 4 * chunks * coded_fields + 15) / 16 * 16
        doc: R
      plain_plane:
        io: _root._io
        pos: plain_begin
        size: plain_length
        if: weights > 0
      block_checksums:
        io: _root._io
        pos: block_checksums_begin
        type: u4
        repeat: expr
        repeat-expr: blocks
      palettes:
        io: _root._io
        pos: palettes_begin
        size: 16
        repeat: expr
        repeat-expr: stored_palettes
      records:
        io: _root._io
        pos: record_ends_begin
        type: indexed_record(_index)
        size: 4
        repeat: expr
        repeat-expr: chunks * coded_fields
  dimension:
    params:
      - id: index
        type: u4
    seq:
      - id: value
        type: u8
    instances:
      product:
        value: '(index == 0 ? value : value * _parent.as<tensor>.shape[index - 1].product).as<u8>'
        doc: Product of this dimension and those before it.
  field:
    doc: A field of the tensor's type, and sums over it and the fields before it.
    params:
      - id: index
        type: u4
    instances:
      form_number:
        value: _parent.as<tensor>.forms >> (4 * index) & 15
      form:
        value: form_number
        enum: form
      width:
        value: _parent.as<tensor>.widths >> (4 * index) & 15
      taken_bits:
        value: '((index == 0 ? 0 : _parent.as<tensor>.fields[index - 1].taken_bits) + (form_number == 0 ? 0 : width)).as<u4>'
      not_plain:
        value: '((index == 0 ? 0 : _parent.as<tensor>.fields[index - 1].not_plain) + (form_number == 0 ? 0 : 1)).as<u4>'
      coded:
        value: '((index == 0 ? 0 : _parent.as<tensor>.fields[index - 1].coded) + (form_number == 1 or form_number == 2 ? 1 : 0)).as<u4>'
  indexed_record:
    doc: A record end, and the record that ends there. Record j*q+i is that of chunk j and coded field i.
    params:
      - id: number
        type: u4
    seq:
      - id: end
        type: u4
        doc: In units of 16 bytes from the begin of the records.
    instances:
      begin:
        value: 'number == 0 ? 0 : _parent.as<tensor>.records[number - 1].end'
      record:
        io: _root._io
        pos: _parent.as<tensor>.records_begin + 16 * begin
        size: 16 * (end - begin)
        type: record
  record:
    doc: Section 5.
    seq:
      - id: record_checksum
        type: u4
      - id: kind
        type: u1
        enum: record_kind
      - id: reserved
        contents: [0]
      - id: patch_count
        type: u2
      - id: code_lengths
        type: b4le
        repeat: expr
        repeat-expr: 16
        doc: One for each palette entry; 15 means that the entry has no code (section 6).
      - id: lane_ends
        type: u2
        repeat: expr
        repeat-expr: 32
        if: kind == record_kind::huffman
      - id: lanes
        size: lane_ends[31]
        if: kind == record_kind::huffman
      - id: huffman_patches
        type: patch
        repeat: expr
        repeat-expr: patch_count
        if: kind == record_kind::huffman
      - id: rest
        size-eos: true
        doc: Padding; of a palette record its indices and patches, of a verbatim record its values as a bit string.
  patch:
    seq:
      - id: position
        type: u2
      - id: value
        type: u1
enums:
  source_kind:
    0: none
    1: safetensors
  record_kind:
    0: verbatim
    1: huffman
    2: palette
  form:
    0: plain
    1: huffman
    2: palette
    3: constant
  dtype:
    1: bool
    2: u8
    3: i8
    4: f8_e5m2
    5: f8_e4m3
    6: f8_e8m0
    7: f8_e4m3fnuz
    8: f8_e5m2fnuz
    9: f4
    10: f6_e2m3
    11: f6_e3m2
    12: i16
    13: u16
    14: f16
    15: bf16
    16: i32
    17: u32
    18: f32
    19: i64
    20: u64
    21: f64
    22: c64
