//! What the parser lets through and we refuse: unknown names, too much nesting.

use cel::{
    IdedExpr, ParseErrors, Program,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, SelectExpr,
    },
};

use super::{
    ExpressionError, MAX_PAYLOAD_EXPRESSION, Scope,
    names::{FUNCTIONS, MACROS, MESSAGE_MEMBERS, TYPES, VARIABLES, is_operator},
};
use crate::suggest::hint;

/// Comprehensions within each other: each level multiplies the work by the length of a list.
const MAX_COMPREHENSIONS: usize = 2;
/// Nodes within each other: bounds the stack of this walk and of each evaluation.
pub(super) const MAX_DEPTH: usize = 128;
/// Characters that may stand before one another's closing: the parser recurses on these.
const MAX_OPEN: usize = 48;

/// Refuses what is empty, long, or nests brackets so deep that parsing itself would be the attack.
pub(super) fn length(source: &str) -> Result<(), ExpressionError> {
    let length = source.chars().count();
    if source.trim().is_empty() {
        return Err(ExpressionError::new("the expression is empty; write a CEL expression"));
    }
    if length > MAX_PAYLOAD_EXPRESSION {
        return Err(ExpressionError::new(format!(
            "the expression has {length} characters; at most {MAX_PAYLOAD_EXPRESSION} are allowed; shorten it"
        )));
    }
    if most_open(source) > MAX_OPEN {
        return Err(ExpressionError::new(format!(
            "the expression nests brackets more than {MAX_OPEN} deep; make it simpler"
        )));
    }
    Ok(())
}

fn most_open(source: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// The parser's first complaint, as one line.
pub(super) fn syntax_error(source: &str, errors: &ParseErrors) -> ExpressionError {
    let Some(first) = errors.errors.first() else {
        return ExpressionError::new("the expression is not CEL; rewrite it");
    };
    let (line, column) = first.pos;
    let message = first.msg.lines().next().unwrap_or_default();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    // The list of what might stand here instead is longer than most expressions.
    let message = message.split(" expecting {").next().unwrap_or_default();
    let (line, column) = (line.max(1), column.max(1));
    let shown = excerpt(source, usize::try_from(line).unwrap_or(1));
    let fault = if message.contains("<EOF>") {
        format!("{shown:?} ends too early; complete it")
    } else {
        format!("{message} in {shown:?}; complete what stands before it, or take it away")
    };
    ExpressionError::new(format!("line {line}, column {column}: not CEL: {fault}"))
}

/// The line, or the last one before it that holds anything; shortened.
fn excerpt(source: &str, line: usize) -> String {
    const MOST: usize = 60;
    let lines: Vec<&str> = source.lines().take(line).collect();
    let text = lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
    let text = text.unwrap_or_default();
    let more = if text.chars().count() > MOST { "…" } else { "" };
    text.chars().take(MOST).collect::<String>() + more
}

/// Refuses unknown names and too much nesting.
pub(super) fn names(
    program: &Program,
    source: &str,
    scope: &Scope<'_>,
) -> Result<(), ExpressionError> {
    let mut walk = Walk { program, source, scope, bound: Vec::new(), tested: Vec::new() };
    walk.collect_tested(program.expression(), 0)?;
    walk.expression(program.expression(), Depth::default())
}

#[derive(Clone, Copy, Default)]
struct Depth {
    nodes: usize,
    comprehensions: usize,
}

struct Walk<'a> {
    program: &'a Program,
    source: &'a str,
    scope: &'a Scope<'a>,
    /// Variables of the comprehensions around the node.
    bound: Vec<&'a str>,
    /// Params that some `has(params.x)` of the expression asks for.
    tested: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn refuse<T>(&self, at: &IdedExpr, fault: &str) -> Result<T, ExpressionError> {
        let start = self.program.source_info().offset_for(at.id).map_or(0, |(start, _)| start);
        let (line, column) = position(self.source, start as usize);
        Err(ExpressionError::new(format!("line {line}, column {column}: {fault}")))
    }

    fn collect_tested(&mut self, node: &'a IdedExpr, depth: usize) -> Result<(), ExpressionError> {
        if depth > MAX_DEPTH {
            return self.refuse(
                node,
                &format!("the expression nests more than {MAX_DEPTH} deep; make it simpler"),
            );
        }
        if let Expr::Select(select) = &node.expr
            && select.test
            && is_variable(&select.operand, "params")
        {
            self.tested.push(&select.field);
        }
        children(&node.expr).into_iter().try_for_each(|child| self.collect_tested(child, depth + 1))
    }

    fn expression(&mut self, node: &'a IdedExpr, depth: Depth) -> Result<(), ExpressionError> {
        let depth = Depth { nodes: depth.nodes + 1, ..depth };
        match &node.expr {
            Expr::Ident(name) => self.variable(node, name),
            Expr::Call(call) => self.call(node, call, depth),
            Expr::Select(select) => self.select(node, select, depth),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension, depth),
            Expr::Struct(made) => {
                let fault = format!("there is no type \"{}\"; make a map {{...}}", made.type_name);
                self.refuse(node, &fault)
            }
            Expr::List(_) | Expr::Map(_) | Expr::Literal(_) | Expr::Unspecified => {
                children(&node.expr).into_iter().try_for_each(|child| self.expression(child, depth))
            }
        }
    }

    fn variable(&self, node: &IdedExpr, name: &str) -> Result<(), ExpressionError> {
        let ours = name.starts_with('@') || self.bound.contains(&name) || TYPES.contains(&name);
        if ours {
            return Ok(());
        }
        if name == "results" && self.scope.results.is_empty() {
            return self.refuse(
                node,
                "there are no results here; give an earlier handler of the route `as: NAME`",
            );
        }
        if VARIABLES.contains(&name) {
            return Ok(());
        }
        let hint = hint(name, VARIABLES.iter().copied());
        self.refuse(node, &format!("there is no variable \"{name}\"{hint}"))
    }

    fn call(
        &mut self,
        node: &'a IdedExpr,
        call: &'a CallExpr,
        depth: Depth,
    ) -> Result<(), ExpressionError> {
        let name = call.func_name.as_str();
        if !is_operator(name) && !FUNCTIONS.contains(&name) {
            return self.refuse(node, &unknown_function(name));
        }
        if let ("_[_]", [object, index]) = (name, call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(key)) = &index.expr
        {
            self.member(node, object, key.inner(), false)?;
        }
        children(&node.expr).into_iter().try_for_each(|child| self.expression(child, depth))
    }

    fn select(
        &mut self,
        node: &'a IdedExpr,
        select: &'a SelectExpr,
        depth: Depth,
    ) -> Result<(), ExpressionError> {
        if is_variable(&select.operand, "results") && self.scope.results.is_empty() {
            return self.expression(&select.operand, depth);
        }
        self.member(node, &select.operand, &select.field, select.test)?;
        self.expression(&select.operand, depth)
    }

    /// `object.name`, where `object` is one of our variables.
    fn member(
        &self,
        node: &IdedExpr,
        object: &IdedExpr,
        name: &str,
        test: bool,
    ) -> Result<(), ExpressionError> {
        let Expr::Ident(variable) = &object.expr else { return Ok(()) };
        if self.bound.contains(&variable.as_str()) {
            return Ok(());
        }
        let known = match variable.as_str() {
            "params" => match self.scope.params {
                Some(known) if !self.may_lack(name, test) => known,
                _ => return Ok(()),
            },
            "message" => MESSAGE_MEMBERS,
            "results" => self.scope.results,
            _ => return Ok(()),
        };
        if known.contains(&name) {
            return Ok(());
        }
        let hint = match known {
            [] => "; the route's pattern has no params".to_owned(),
            known => hint(name, known.iter().copied()),
        };
        self.refuse(node, &format!("there is no \"{variable}.{name}\"{hint}"))
    }

    fn may_lack(&self, param: &str, test: bool) -> bool {
        self.scope.optional_params.contains(&param) && (test || self.tested.contains(&param))
    }

    fn comprehension(
        &mut self,
        node: &'a IdedExpr,
        loops: &'a ComprehensionExpr,
        depth: Depth,
    ) -> Result<(), ExpressionError> {
        self.expression(&loops.iter_range, depth)?;
        self.expression(&loops.accu_init, depth)?;
        let depth = Depth { comprehensions: depth.comprehensions + 1, ..depth };
        if depth.comprehensions > MAX_COMPREHENSIONS {
            return self.refuse(
                node,
                &format!("lists are walked more than {MAX_COMPREHENSIONS} deep (all, exists, map, filter); make it simpler"),
            );
        }
        let outer = self.bound.len();
        self.bound.extend([loops.iter_var.as_str(), loops.accu_var.as_str()]);
        self.bound.extend(loops.iter_var2.as_deref());
        for part in [&loops.loop_cond, &loops.loop_step, &loops.result] {
            self.expression(part, depth)?;
        }
        self.bound.truncate(outer);
        Ok(())
    }
}

fn unknown_function(name: &str) -> String {
    if let Some((_, usage)) = MACROS.iter().find(|(macro_name, _)| *macro_name == name) {
        return format!("\"{name}\" is called as {usage}");
    }
    let hint = hint(name, FUNCTIONS.iter().copied());
    format!("there is no function \"{name}\"{hint}")
}

fn is_variable(node: &IdedExpr, name: &str) -> bool {
    matches!(&node.expr, Expr::Ident(ident) if ident == name)
}

fn children(expr: &Expr) -> Vec<&IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(entry).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(entry).collect(),
        Expr::Comprehension(loops) => vec![
            &loops.iter_range,
            &loops.accu_init,
            &loops.loop_cond,
            &loops.loop_step,
            &loops.result,
        ],
    }
}

fn entry(entry: &IdedEntryExpr) -> Vec<&IdedExpr> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Line and column (in characters), both from 1, of the byte at `offset`.
fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
