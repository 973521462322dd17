'use strict';
(() => {
  const read = id => JSON.parse(document.getElementById(id).textContent);
  const comparison = read('comparison'), timelines = read('timelines');
  const models = ['base', 'motivated'];
  const theme = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
  const escaped = text => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

  // Tables: numbers by their value, and what has none at the end.
  const compare = (one, other) => typeof one === 'number' && typeof other === 'number'
    ? one - other : String(one).localeCompare(String(other), undefined, {numeric: true});
  for (const button of document.querySelectorAll('thead button')) {
    button.addEventListener('click', () => {
      const head = button.parentElement, body = head.closest('table').tBodies[0];
      const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
      for (const other of head.parentElement.children) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
      const key = row => {
        const cell = row.cells[head.cellIndex];
        return 'value' in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
      };
      const rows = [...body.rows].map(row => [key(row), row]);
      rows.sort(([one], [other]) => (one === '') - (other === '') || sign * compare(one, other));
      body.append(...rows.map(([, row]) => row));
    });
  }

  // An arm is a colour and a dash: 8 x 6 of them, of Okabe and Ito's palette for all kinds of sight.
  const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#8c6bb1', '#808080'];
  const dashes = ['solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot'];
  const patterns = ['', '6 3', '2 2', '6 2 2 2', '10 4', '10 3 2 3'];
  const symbols = ['circle', 'square', 'diamond', 'triangle-up', 'cross', 'x'];
  const style = place => ({colour: colours[place % 8], turn: Math.floor(place / 8) % 6});
  const shown = comparison.arms.map(() => true);

  const layout = (title, extra) => ({
    margin: {l: 56, r: 12, t: 28, b: 48}, showlegend: false,
    modebar: {bgcolor: 'rgba(0,0,0,0)', color: theme('--faint'), activecolor: theme('--ink')}, hovermode: 'closest',
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: {color: theme('--ink'), size: 12},
    xaxis: {title: {text: title}, exponentformat: 'e', gridcolor: theme('--line'), zerolinecolor: theme('--line'), ...extra},
    yaxis: {gridcolor: theme('--line'), zerolinecolor: theme('--line'), automargin: true},
  });
  const settings = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ['sendChartToCloud', 'lasso2d', 'select2d']};

  const points = (run, model, axis) => run.history
    .filter(row => row[model] !== null && row[axis] !== null).map(row => [row[axis], row[model]]);

  function curves(model, axis, view) {
    const traces = [];
    comparison.arms.forEach((arm, place) => {
      const {colour, turn} = style(place), runs = arm.runs.map(run => points(run, model, axis));
      if (!shown[place] || !runs.length) return;
      const line = {color: colour, dash: dashes[turn], width: 2}, name = escaped(arm.arm);
      if (view === 'runs') {
        runs.forEach((rows, index) => traces.push({
          x: rows.map(row => row[0]), y: rows.map(row => row[1]), mode: 'lines', line: {...line, width: 1.2},
          hovertemplate: `${name}, seed ${arm.runs[index].seed}<br>%{x}<br>%{y:.3f}<extra></extra>`,
        }));
        return;
      }
      const length = Math.min(...runs.map(rows => rows.length));
      if (!length) return;
      const at = [...Array(length).keys()].map(index => runs.map(rows => rows[index]));
      const x = at.map(rows => mean(rows.map(row => row[0]))), y = at.map(rows => mean(rows.map(row => row[1])));
      if (runs.length > 1 && shown.filter(Boolean).length <= 12) {  // more bands hide the curves
        const low = at.map(rows => Math.min(...rows.map(row => row[1])));
        const high = at.map(rows => Math.max(...rows.map(row => row[1])));
        traces.push({
          x: [...x, ...x.slice().reverse()], y: [...high, ...low.reverse()], fill: 'toself', mode: 'none',
          fillcolor: `${colour}26`, hoverinfo: 'skip',
        });
      }
      traces.push({
        x, y, mode: 'lines', line, hovertemplate: `${name}, ${runs.length} seeds<br>%{x}<br>%{y:.3f}<extra></extra>`,
      });
      traces.push({x: x.slice(-1), y: y.slice(-1), mode: 'markers', marker: {color: colour, size: 8, symbol: symbols[turn]}, hoverinfo: 'skip'});
    });
    return traces;
  }

  function cost(model) {
    const traces = [], front = [];
    comparison.arms.forEach((arm, place) => {
      const {[model]: metric, total_train_flops: flops} = arm.summary, {colour, turn} = style(place);
      if (metric === null || flops === null || !arm.trains.includes(model)) return;
      const onFront = (arm.pareto || []).includes(model);
      if (onFront) front.push([flops.mean, metric.mean]);
      traces.push({
        x: [flops.mean], y: [metric.mean], mode: 'markers', visible: shown[place] || 'legendonly',
        error_y: {type: 'data', array: [metric.sd || 0], thickness: 1, width: 3, color: colour},
        marker: {color: colour, symbol: symbols[turn], size: onFront ? 13 : 9, line: {width: onFront ? 2 : 0, color: theme('--ink')}},
        hovertemplate: `${escaped(arm.arm)}${onFront ? ' (front)' : ''}<br>%{x} FLOPs<br>%{y:.3f}<extra></extra>`,
      });
    });
    front.sort((one, other) => one[0] - other[0]);
    return [{x: front.map(at => at[0]), y: front.map(at => at[1]), mode: 'lines', hoverinfo: 'skip', line: {color: theme('--faint'), dash: 'dot', width: 1.5}}, ...traces];
  }

  const axis = document.getElementById('axis'), view = document.getElementById('view');
  if (!comparison.arms.some(arm => arm.runs.some(run => run.history.some(row => row.total_train_flops !== null)))) {
    axis.value = 'epoch';
    axis.options[0].disabled = true;
  }
  function draw() {
    const ofAxis = axis.options[axis.selectedIndex].text;
    for (const model of models) {
      Plotly.react(`curves-${model}`, curves(model, axis.value, view.value), layout(ofAxis, {rangemode: 'tozero'}), settings);
      Plotly.react(`cost-${model}`, cost(model), layout('mean total training FLOPs', {}), settings);
    }
    strips();
  }

  const legend = document.getElementById('legend');
  comparison.arms.forEach((arm, place) => {
    const {colour, turn} = style(place), button = document.createElement('button'), label = document.createElement('code');
    button.type = 'button';
    button.innerHTML = `<svg width="26" height="10" aria-hidden="true"><path d="M0 5H26" stroke="${colour}" stroke-width="3" stroke-dasharray="${patterns[turn]}"/></svg>`;
    label.textContent = arm.arm;
    button.append(label);
    button.addEventListener('click', () => show(index => index === place ? !shown[index] : shown[index]));
    legend.append(button);
  });
  function show(decide) {
    shown.forEach((_, place) => {
      shown[place] = decide(place);
      legend.children[place].setAttribute('aria-pressed', shown[place]);
    });
    draw();
  }
  document.getElementById('all').addEventListener('click', () => show(() => true));
  document.getElementById('none').addEventListener('click', () => show(() => false));
  axis.addEventListener('change', draw);
  view.addEventListener('change', draw);

  const levels = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const canvases = [...document.querySelectorAll('canvas.strip')];
  const share = level => levels.indexOf(level) / (levels.length - 1);
  function strips() {
    for (const canvas of canvases) {
      const {shares} = timelines[canvas.dataset.run];
      canvas.width = shares.length || 1;
      canvas.height = 1;
      const pen = canvas.getContext('2d');
      [...shares].forEach((level, bin) => {
        if (level === 'A') return;
        pen.fillStyle = `rgba(${theme('--motivated')}, ${0.15 + 0.85 * share(level)})`;
        pen.fillRect(bin, 0, 1, 1);
      });
    }
  }
  for (const canvas of canvases) {
    canvas.addEventListener('pointermove', event => {
      const {shares, batches} = timelines[canvas.dataset.run];
      const bin = Math.min(Math.max(Math.floor(event.offsetX / canvas.clientWidth * shares.length), 0), shares.length - 1);
      const first = Math.round(bin * batches / shares.length) + 1, last = Math.round((bin + 1) * batches / shares.length);
      const places = first < last ? `batches ${first} to ${last}` : `batch ${first}`;
      canvas.title = `${places}: ${(100 * share(shares[bin])).toFixed(0)} % motivated`;
    });
  }

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  show(() => true);
})();
